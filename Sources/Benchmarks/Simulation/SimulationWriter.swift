import Collectives
import Encoding
import Topology

/// Gathers what ranks saw, half by half, into a result.
struct SimulationWriter {
    private let options: SimulationOptions
    private let links: LinkMap
    private let detail: SimulationOptions.Detail
    private var halves: [SimulationResult.Times] = []
    private var uses: [SimulationResult.LinkUse] = []
    private var findings: [String] = []
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
            history.add(UInt64(one.rank.rawValue))
            history.add(one.began)
            history.add(one.nanoseconds)
        }
    }

    /// The whole.
    func result(losses: [String], wrong: Int?) -> SimulationResult {
        var history = history
        for loss in losses { for byte in loss.utf8 { history.add(UInt64(byte)) } }
        return SimulationResult(
            detail: detail.rawValue, topology: options.map.name, ranks: options.rankCount,
            groupSize: options.chosenGroupSize, seed: options.seed, mode: options.mode.rawValue,
            tokensPerRank: options.tokenCount, halves: halves, links: uses, findings: findings,
            losses: losses, wrong: wrong, history: String(history.value, radix: 16),
            leftOut: leftOut)
    }

    private var leftOut: [String] {
        var facts: [String] = []
        if let fixed = options.map.hardware?.exchangeSeconds, fixed > 0 {
            facts.append(
                "what an exchange costs beyond its bytes (exchangeMicroseconds, "
                    + "\(Report.number(fixed * 1e6)) us)")
        }
        if let family = options.map.hardware?.network?.family {
            facts.append("links inside the \(family.rawValue) network, which is fully built")
        }
        switch detail {
        case .bytes:
            facts.append("the time in which a rank encodes, copies and adds rows")
            if links.map.nodes.contains(where: { $0.ranks > 1 }) {
                facts.append(
                    "contention of links inside a node: a rank waits for its own rows alone")
            }
        case .flows:
            facts.append("messages: a rank sends to each other rank once, and forwards as it goes")
        }
        return facts
    }
}
