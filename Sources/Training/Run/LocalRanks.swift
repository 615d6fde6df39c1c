import Foundation
import Synchronization
public import Transport

/// All ranks of a run as threads of this process.
public enum LocalRanks {
    /// Deep layers recurse nowhere; this is room for Foundation's formatting and no more.
    private static let stackBytes = 4 << 20

    /// The fabrics of one rank.
    public struct Place: Sendable {
        /// All ranks.
        public let fabric: any Fabric
        /// The ranks that share this rank's experts, if any do.
        public let experts: (any Fabric)?
    }

    /// Calls `body` once per rank, each on a thread of its own, and returns when all are done.
    ///
    /// - Throws: The first error of the lowest rank that failed.
    public static func run(
        _ shape: ParallelShape, _ body: @escaping @Sendable (Place) throws -> Void
    ) throws {
        let fabrics = try makeLoopbackFabrics(rankCount: shape.rankCount) {
            $0.silenceLimit = .seconds(60)
        }
        var experts: [(any Fabric)?] = Array(repeating: nil, count: shape.rankCount)
        if shape.sharesExperts && shape.dataRanks > 1 {
            for place in 0 ..< shape.pipelineRanks {
                let group = try makeLoopbackFabrics(rankCount: shape.dataRanks) {
                    $0.silenceLimit = .seconds(60)
                }
                for (data, fabric) in group.enumerated() {
                    experts[data * shape.pipelineRanks + place] = fabric
                }
            }
        }
        let errors = Mutex<[Int: any Error]>([:])
        let finished = DispatchSemaphore(value: 0)
        for index in 0 ..< shape.rankCount {
            let place = Place(fabric: fabrics[index], experts: experts[index])
            let thread = Thread {
                do {
                    try body(place)
                    try place.fabric.barrier(deadline: Deadline(.seconds(60), "the end"))
                } catch {
                    errors.withLock { $0[index] = error }
                }
                place.experts?.close()
                place.fabric.close()
                finished.signal()
            }
            thread.stackSize = stackBytes
            thread.start()
        }
        for _ in 0 ..< shape.rankCount { finished.wait() }
        if let first = errors.withLock({ $0.min { $0.key < $1.key } }) { throw first.value }
    }
}
