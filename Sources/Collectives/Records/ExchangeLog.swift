internal import Topology
internal import Transport

/// The records that the exchanges of a group leave, and the watcher of their calls.
final class ExchangeLog {
    /// The records of the last dispatches and combines, oldest first, at most `limit`.
    private(set) var records: [ExchangeRecord] = []
    /// What it has cost to leave them.
    private(set) var recordingTime = Duration.zero
    /// What has travelled to each rank.
    private(set) var traffic: PerRank<RankTraffic>
    /// Is called before and after every call of an exchange.
    var watcher: ((ExchangeEvent) -> Void)?

    private let limit: Int

    /// - Parameters:
    ///   - nodes: The node of each rank.
    ///   - rank: The rank whose log it is.
    init(limit: Int, nodes: [NodeID], rank: Rank) {
        self.limit = limit
        traffic = PerRank(nodes.map { RankTraffic(crossesNodes: $0 != nodes[rank.rawValue]) })
    }

    /// Counts bytes that travelled to a rank.
    func sent(_ bytes: Int, to rank: Rank) { traffic[rank].bytes += bytes }

    /// Keeps a record; the oldest half goes when there are too many.
    ///
    /// - Parameter start: When its making began, in nanoseconds of the clock.
    func keep(_ record: ExchangeRecord, since start: UInt64, _ clock: FabricClock) {
        if records.count == limit { records.removeFirst(limit / 2) }
        records.append(record)
        recordingTime += .nanoseconds(Int64(clock.nanoseconds - start))
    }

    /// Forgets the records that were kept so far.
    func forget() { records.removeAll(keepingCapacity: true) }
}
