internal import Topology

/// What a carrier has done in this half for the ranks of other nodes.
struct RelayProgress {
    /// Per source: whether its block was forwarded, or its rows sent home.
    var isDone: PerRank<Bool>
    /// Per source: tokens of its block, and bytes that went back to it.
    var blockCounts: PerRank<Int>
    var returnedBytes: PerRank<Int>
    /// Per rank of this node: tokens of other nodes' blocks that were forwarded to it.
    var forwardedCounts: PerRank<Int>

    init(rankCount: Int) {
        isDone = PerRank(repeating: false, count: rankCount)
        blockCounts = PerRank(repeating: 0, count: rankCount)
        returnedBytes = blockCounts
        forwardedCounts = blockCounts
    }

    /// Begins a half. The counts of blocks stay: the combine returns what the dispatch brought.
    mutating func begin() {
        isDone.reset(to: false)
        forwardedCounts.reset(to: 0)
    }
}
