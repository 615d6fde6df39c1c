import Collectives
import Encoding
import Topology
import Transport

/// An exchange in virtual time, with the product's own code and real bytes.
package struct SimulatedExchange {
    private let options: SimulationOptions
    private let links: LinkMap

    /// Checks the options.
    ///
    /// - Throws: `SimulationError` or `TopologyError` with the option, its value and its limit.
    package init(_ options: SimulationOptions) throws {
        self.options = options
        links = try options.links()
    }

    /// Runs one dispatch and combine.
    package func run() throws -> SimulationResult {
        let seed = options.seed
        let simulation = try SimulatedFabric(
            links, rankCount: options.rankCount, faults: try faults(),
            silenceLimit: options.silenceLimit,
            draw: { SplitMix64.mix(SplitMix64.mix(seed) &+ $0) })
        let draw = RoutingDraw(options)
        let routings = try (0 ..< options.rankCount).map { rank in
            try Routing(
                tokenCount: options.tokenCount, topK: options.topK,
                expertIDs: draw.experts(of: rank))
        }
        let rank = SimulatedRank(
            options: options, network: simulation.network, routings: routings)
        let endings = try simulation.run { try rank.run($0) }
        let death = options.kills
        simulation.close()
        return try result(endings, deaths: death)
    }

    private func faults() throws -> SimulatedFaults {
        var faults = SimulatedFaults()
        func nanoseconds(_ duration: Duration) -> UInt64 {
            UInt64(max(0, duration / .nanoseconds(1)))
        }
        for (name, moment) in options.cuts.sorted(by: { $0.key < $1.key }) {
            let link = try options.index(of: name, in: links, option: "cut")
            faults.links.append(.init(nanoseconds: nanoseconds(moment), links: [link], share: 0))
        }
        for (rank, pause) in options.pauses.sorted(by: { $0.key < $1.key }) {
            let links = links.links(ofNode: links.nodes[rank.rawValue])
            faults.links.append(
                .init(nanoseconds: nanoseconds(pause.begin), links: links, share: 0))
            faults.links.append(
                .init(
                    nanoseconds: nanoseconds(pause.begin + pause.length), links: links, share: 1))
        }
        faults.deaths = options.kills.mapValues(nanoseconds)
        faults.jitterNanoseconds = nanoseconds(options.jitter)
        return faults
    }

    private func result(
        _ endings: [Result<SimulatedRank.Ending, any Error>], deaths: [Rank: Duration]
    ) throws -> SimulationResult {
        var seen: [(rank: Rank, ending: SimulatedRank.Ending)] = []
        var losses: [Rank: [String]] = [:]
        var dead: [Rank] = []
        for (index, ending) in endings.enumerated() {
            let rank = Rank(rawValue: index)
            switch ending {
            case .success(let value): seen.append((rank, value))
            case .failure(let error as TransportError) where error.rank != nil:
                if let lost = error.rank { losses[lost, default: []].append("\(error)") }
            // A rank that died finds its own fabric closed.
            case .failure(let error as TransportError)
            where error == .closed && deaths[rank] != nil:
                dead.append(rank)
            case .failure(let error): throw error
            }
        }
        var writer = SimulationWriter(options, links, detail: .bytes)
        let carried = Self.most(of: seen.map(\.ending.carried))
        let halves: [(String, KeyPath<SimulatedRank.Ending, SimulatedRank.Seen?>)] = [
            ("dispatch", \.dispatch), ("combine", \.combine),
        ]
        for (index, (name, half)) in halves.enumerated() where carried.count > index + 1 {
            writer.add(
                name,
                seen.compactMap { rank, ending in
                    ending[keyPath: half].map { one in
                        ExchangeDiagnosis.Sample(
                            rank: rank, node: links.nodes[rank.rawValue], began: one.began,
                            computed: one.computed, nanoseconds: one.ended - one.began,
                            lastAwaited: one.lastAwaited)
                    }
                },
                carried: zip(carried[index + 1], carried[index]).map { $0 - $1 })
        }
        var lines = Self.lines(losses, rankCount: options.rankCount)
        lines += dead.filter { losses[$0] == nil }.map {
            "\($0) died, and no rank was left to name it"
        }
        return writer.result(
            losses: lines,
            wrong: seen.reduce(0) { $0 + $1.ending.wrong })
    }

    /// The largest of what ranks saw of each link, moment by moment.
    private static func most(of ranks: [[[Double]]]) -> [[Double]] {
        let moments = ranks.map(\.count).min() ?? 0
        return (0 ..< moments).map { moment in
            ranks.dropFirst().reduce(ranks[0][moment]) { most, rank in
                zip(most, rank[moment]).map { max($0, $1) }
            }
        }
    }

    /// One line per lost rank, the one that most ranks name first: how most of them put it.
    private static func lines(_ losses: [Rank: [String]], rankCount: Int) -> [String] {
        losses.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }.map { _, words in
            let counts = Dictionary(grouping: words) { $0 }.mapValues(\.count)
            let usual = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
            return "\(usual) (named by \(words.count) of \(rankCount) ranks)"
        }
    }
}
