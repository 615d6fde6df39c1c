import Foundation
import Synchronization
import Topology
import Transport

/// Runs `body` once per rank of a loopback fabric, each on a thread of its own, and returns what
/// they returned in rank order; rethrows the error of the lowest rank that threw.
func onRanks<Result: Sendable>(
    _ count: Int, nodes: [Int]? = nil,
    _ body: @escaping @Sendable (any Fabric) throws -> Result
) throws -> [Result] {
    try onRanksCatching(count, nodes: nodes, body).map { try $0.get() }
}

/// As `onRanks`, but hands back each rank's own ending.
func onRanksCatching<Value: Sendable>(
    _ count: Int, nodes: [Int]? = nil, silenceLimit: Duration = .seconds(5),
    _ body: @escaping @Sendable (any Fabric) throws -> Value
) throws -> [Result<Value, any Error>] {
    let fabrics = try makeLoopbackFabrics(rankCount: count) {
        $0.nodes = nodes
        $0.silenceLimit = silenceLimit
    }
    let endings = Mutex([Result<Value, any Error>?](repeating: nil, count: count))
    let group = DispatchGroup()
    for fabric in fabrics {
        group.enter()
        Thread.detachNewThread {
            let ending = Result { try body(fabric) }
            endings.withLock { $0[fabric.rank.rawValue] = ending }
            group.leave()
        }
    }
    group.wait()
    for fabric in fabrics { fabric.close() }
    return endings.withLock { $0.map { $0! } }
}
