import Encoding
import Topology
import Transport

/// A described cluster whose ranks run as threads in virtual time, with what is planted in it.
struct SimulatedCluster {
    let options: SimulationOptions
    let links: LinkMap

    /// How the ranks ended.
    struct Outcome<Value> {
        /// What those brought home that came to the end.
        var seen: [(rank: Rank, value: Value)] = []
        /// One line per lost rank, the one that most ranks name first.
        var losses: [String] = []
    }

    /// Joins all ranks.
    ///
    /// - Parameter settling: When the work begins, after the ranks were joined; the moments of
    ///   faults count from there.
    func fabric(settling: Duration = .zero) throws -> SimulatedFabric {
        let seed = options.seed
        return try SimulatedFabric(
            links, rankCount: options.rankCount, faults: try faults(after: settling),
            silenceLimit: options.silenceLimit,
            draw: { SplitMix64.mix(SplitMix64.mix(seed) &+ $0) })
    }

    private func faults(after settling: Duration) throws -> SimulatedFaults {
        var faults = SimulatedFaults()
        func moment(_ duration: Duration) -> UInt64 { Self.nanoseconds(settling + duration) }
        for (name, time) in options.cuts.sorted(by: { $0.key < $1.key }) {
            let link = try options.index(of: name, in: links, option: "cut")
            faults.links.append(.init(nanoseconds: moment(time), links: [link], share: 0))
        }
        for (rank, pause) in options.pauses.sorted(by: { $0.key < $1.key }) {
            let links = links.links(ofNode: links.nodes[rank.rawValue])
            faults.links.append(.init(nanoseconds: moment(pause.begin), links: links, share: 0))
            faults.links.append(
                .init(nanoseconds: moment(pause.begin + pause.length), links: links, share: 1))
        }
        faults.deaths = options.kills.mapValues(moment)
        faults.jitterNanoseconds = Self.nanoseconds(options.jitter)
        return faults
    }

    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        UInt64(max(0, duration / .nanoseconds(1)))
    }

    /// Sorts what ranks brought home from what they lost.
    ///
    /// - Throws: What ended a rank, if that was neither its death nor the loss of another.
    func outcome<Value>(of endings: [Result<Value, any Error>]) throws -> Outcome<Value> {
        var outcome = Outcome<Value>()
        var losses: [Rank: [String]] = [:]
        var dead: [Rank] = []
        for (index, ending) in endings.enumerated() {
            let rank = Rank(rawValue: index)
            switch ending {
            case .success(let value): outcome.seen.append((rank, value))
            case .failure(let error as TransportError) where error.rank != nil:
                if let lost = error.rank { losses[lost, default: []].append("\(error)") }
            // A rank that died finds its own fabric closed.
            case .failure(let error as TransportError)
            where error == .closed && options.kills[rank] != nil:
                dead.append(rank)
            case .failure(let error): throw error
            }
        }
        outcome.losses = lines(losses)
        outcome.losses += dead.filter { losses[$0] == nil }.map {
            "\($0) died, and no rank was left to name it"
        }
        return outcome
    }

    /// One line per lost rank, the one that most ranks name first: how most of them put it.
    private func lines(_ losses: [Rank: [String]]) -> [String] {
        losses.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }.map { _, words in
            let counts = Dictionary(grouping: words) { $0 }.mapValues(\.count)
            let usual = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
            return "\(usual) (named by \(words.count) of \(options.rankCount) ranks)"
        }
    }

    /// The largest of what ranks saw of each link, moment by moment.
    static func most(of ranks: [[[Double]]]) -> [[Double]] {
        let moments = ranks.map(\.count).min() ?? 0
        return (0 ..< moments).map { moment in
            ranks.dropFirst().reduce(ranks[0][moment]) { most, rank in
                zip(most, rank[moment]).map { max($0, $1) }
            }
        }
    }
}
