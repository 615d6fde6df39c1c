import Collectives

/// Bytes that a rank's tokens and rows took to other ranks, in the dispatches and combines of its
/// steps, since it started.
public struct SentBytes: Codable, Hashable, Sendable {
    /// By receiving rank, as the job numbers them; ranks beyond the last got none.
    private(set) var toRanks: [UInt64] = []
    /// The part that stayed on the rank's node.
    public private(set) var insideNode: UInt64 = 0
    /// The part that went to other nodes.
    public private(set) var acrossNodes: UInt64 = 0

    /// What went to one rank.
    public func bytes(to rank: Int) -> UInt64 { toRanks.indices.contains(rank) ? toRanks[rank] : 0 }

    /// Counts what went to one rank.
    mutating func add(_ traffic: RankTraffic, to rank: Int) {
        guard traffic.bytes > 0, rank >= 0 else { return }
        let bytes = UInt64(traffic.bytes)
        if rank >= toRanks.count {
            toRanks += Array(repeating: 0, count: rank + 1 - toRanks.count)
        }
        toRanks[rank] += bytes
        if traffic.crossesNodes { acrossNodes += bytes } else { insideNode += bytes }
    }
}
