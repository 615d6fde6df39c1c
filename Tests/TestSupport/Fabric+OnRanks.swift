import Synchronization
import Topology
public import Transport
public import TransportTesting

/// Runs `body` once per rank of a loopback fabric, each on a thread of its own, and returns what
/// they returned in rank order; rethrows the error of the lowest rank that threw.
public func onRanks<Result: Sendable>(
    _ count: Int, nodes: [Int]? = nil,
    _ body: @escaping @Sendable (any Fabric) throws -> Result
) throws -> [Result] {
    try onRanksCatching(count, nodes: nodes, body).map { try $0.get() }
}

/// As `onRanks`, but hands back each rank's own ending.
///
/// - Parameter time: The time that the ranks live in, if it is not the machine's.
public func onRanksCatching<Value: Sendable>(
    _ count: Int, nodes: [Int]? = nil, in time: ManualClock? = nil,
    _ body: @escaping @Sendable (any Fabric) throws -> Value
) throws -> [Result<Value, any Error>] {
    let fabrics = try makeLoopbackFabrics(rankCount: count) {
        $0.nodes = nodes
        if let time { $0.clock = time.clock }
    }
    defer { for fabric in fabrics { fabric.close() } }
    guard let time else { return try RankThreads.endings(fabrics, body) }
    let endings = Mutex([Result<Value, any Error>?](repeating: nil, count: count))
    time.run(threads: count) { index in
        let ending = Result { try body(fabrics[index]) }
        endings.withLock { $0[index] = ending }
    }
    return endings.withLock { $0.map { $0! } }
}
