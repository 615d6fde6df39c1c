import Tensors
import Topology
import Transport

/// How fast the same bytes move with nothing around them: no routing, no packing, no sums.
///
/// Inside a node every rank copies, from memory of its own, what it owes each rank into that rank's
/// window. To other nodes it puts what really crossed, from staging. Then all wait for all.
final class TransferLimit {
    private let fabric: any Fabric
    private let window: Window
    private let source: Tensor
    private let deadline: Deadline
    private let share: Int
    private var round: UInt64 = 0

    /// More would measure the same and need as much memory again.
    private static let shareLimit = 256 << 20
    private static let repeats = 5

    init(fabric: any Fabric, largestBytes: Int, deadline: Deadline) throws {
        self.fabric = fabric
        self.deadline = deadline
        var largest = 0
        let word = (0 ..< 8).map { UInt8(truncatingIfNeeded: largestBytes >> (8 * $0)) }
        for blob in try fabric.allGather(word, label: "limit", deadline: deadline) {
            let bytes = blob.reversed().reduce(0) { $0 << 8 | Int($1) }
            largest = max(largest, bytes)
        }
        share = min(max(largest, 64), Self.shareLimit)
        let nodes = Set(fabric.ranks.map { fabric.node(of: $0) })
        window = try fabric.makeWindow(
            name: "limit", byteCount: share * fabric.rankCount, signalCount: fabric.rankCount,
            stagingByteCount: nodes.count > 1 ? share : 0, deadline: deadline)
        let source = Tensor(rows: 1, columns: share / 4 + 1)
        source.fill(1)
        self.source = source
        if nodes.count > 1 {
            let share = share
            window.withStaging(0 ..< share) { $0.copy(source.bytes.extracting(0 ..< share), to: 0) }
        }
    }

    /// Nanoseconds of the slowest rank, best of a few, for bytes per rank.
    func measure(_ logical: [Int], physical: [Int]) throws -> UInt64 {
        var best = UInt64.max
        for _ in 0 ..< Self.repeats {
            try fabric.barrier(deadline: deadline)
            let start = fabric.clock.nanoseconds
            round += 1
            for rank in fabric.ranks { try send(to: rank, logical, physical) }
            for rank in fabric.ranks {
                try window.wait(
                    signal: rank.rawValue, atLeast: round, from: rank, deadline: deadline)
            }
            try window.flush(deadline: deadline)
            let mine = fabric.clock.nanoseconds - start
            let word = (0 ..< 8).map { UInt8(truncatingIfNeeded: mine >> (8 * $0)) }
            var slowest: UInt64 = 0
            for blob in try fabric.allGather(word, label: "limit", deadline: deadline) {
                slowest = max(slowest, blob.reversed().reduce(0) { $0 << 8 | UInt64($1) })
            }
            best = min(best, slowest)
        }
        return best
    }

    private func send(to rank: Rank, _ logical: [Int], _ physical: [Int]) throws {
        let source = source
        let place = fabric.rank.rawValue * share
        let bytes = min(logical[rank.rawValue], share)
        // Not always the same memory: a source in cache would flatter the limit.
        let from = min(share - bytes, rank.rawValue * (share / fabric.rankCount)) & ~63
        let stored: Void? =
            rank == fabric.rank
            ? window.withMutableBytes(place ..< place + bytes) {
                $0.copy(source.bytes.extracting(from ..< from + bytes), to: 0)
            }
            : window.withPeerBytes(of: rank, place ..< place + bytes) {
                $0.copy(source.bytes.extracting(from ..< from + bytes), to: 0)
            }
        if stored != nil {
            try window.signal(fabric.rank.rawValue, of: rank, value: round)
        } else {
            let crossed = min(physical[rank.rawValue], share)
            try window.put(
                0 ..< crossed, to: rank, at: place, signal: fabric.rank.rawValue, value: round)
        }
    }
}
