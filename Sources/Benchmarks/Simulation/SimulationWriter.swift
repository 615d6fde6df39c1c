import Collectives
import Encoding
import Serving
import Topology

/// Gathers what ranks saw, half by half, into a result.
struct SimulationWriter {
    private let options: SimulationOptions
    private let links: LinkMap
    private let detail: SimulationOptions.Detail
    private var halves: [SimulationResult.Times] = []
    private var uses: [SimulationResult.LinkUse] = []
    private var findings: [String] = []
    private var spans: [JobTrace.Span] = []
    private var history = FNV1a()

    init(_ options: SimulationOptions, _ links: LinkMap, detail: SimulationOptions.Detail) {
        self.options = options
        self.links = links
        self.detail = detail
    }

    /// Adds a half.
    ///
    /// - Parameter carried: Bytes of every link.
    mutating func add(
        _ name: String, _ samples: [ExchangeDiagnosis.Sample], carried: [Double]
    ) {
        let times = samples.map(\.nanoseconds)
        let longest = times.max() ?? 0
        let all = SimulationResult.uses(
            links, half: name, carried: carried, nanoseconds: longest)
        halves.append(
            SimulationResult.Times(
                name: name, microseconds: Double(longest) / 1000,
                medianMicroseconds: Double(ExchangeDiagnosis.median(times)) / 1000,
                carriedBytes: carried.reduce(0, +), bottleneck: all.first))
        uses += all.prefix(SimulationResult.linksPerHalf)
        findings += ExchangeDiagnosis(half: name, samples).findings.map { "\($0)" }
        for one in samples {
            let end = one.began + one.nanoseconds
            spans += [
                .init(
                    rank: one.rank, kind: .compute,
                    nanoseconds: one.began - one.computed ..< one.began,
                    tokens: options.tokenCount),
                .init(
                    rank: one.rank, kind: name == "dispatch" ? .dispatch : .combine,
                    nanoseconds: one.began ..< end, tokens: options.tokenCount,
                    awaited: one.lastAwaited),
            ]
            history.add(UInt64(one.rank.rawValue))
            history.add(one.began)
            history.add(one.nanoseconds)
        }
    }

    /// The whole.
    func result(losses: [String], wrong: Int?) -> TracedExchange {
        var history = history
        for loss in losses { for byte in loss.utf8 { history.add(UInt64(byte)) } }
        let result = SimulationResult(
            detail: detail.rawValue, topology: options.map.name, ranks: options.rankCount,
            groupSize: options.chosenGroupSize, seed: options.seed, mode: options.mode.rawValue,
            networkRouting: options.networkRouting.rawValue, tokensPerRank: options.tokenCount,
            halves: halves, links: uses, findings: findings, losses: losses, wrong: wrong,
            history: String(history.value, radix: 16), leftOut: leftOut)
        return TracedExchange(
            result: result, trace: JobTrace(rankCount: options.rankCount, spans: spans))
    }

    private var leftOut: [String] {
        switch detail {
        case .bytes: Self.leftOut(options)
        case .flows:
            Self.leftOutOfLinks(options) + [
                "messages: a rank sends to each other rank once, and forwards as it goes"
            ]
        }
    }

    /// What simulations leave out whose ranks run the product's code.
    static func leftOut(_ options: SimulationOptions) -> [String] {
        let contention = "contention of links inside a node: a rank waits for its own rows alone"
        return leftOutOfLinks(options) + [
            "the time in which a rank encodes, copies and adds rows"
        ] + (options.map.nodes.contains { $0.ranks > 1 } ? [contention] : [])
    }

    /// What a trace leaves out whose ranks hand over what they did at their end.
    static let leftOutOfTraces = "in a trace: all that ranks did in a run that lost one"

    private static func leftOutOfLinks(_ options: SimulationOptions) -> [String] {
        var facts: [String] = []
        if let fixed = options.map.hardware?.exchangeSeconds, fixed > 0 {
            facts.append(
                "what an exchange costs beyond its bytes (exchangeMicroseconds, "
                    + "\(Report.number(fixed * 1e6)) us)")
        }
        if let family = options.map.hardware?.network?.family {
            facts.append("links inside the \(family.rawValue) network, which is fully built")
        }
        return facts
    }
}
