extension Schedule {
    /// Every micro-batch forwards through the line of stages: inference.
    ///
    /// Makespan `(R - 1 + m) F`; nothing is kept for a backward.
    static func forwardOnly(ranks: Int, microBatches: Int) -> Schedule {
        let compute = (0 ..< ranks).map { rank in
            (0 ..< microBatches).map { Step.forward(Cell(rank, $0)) }
        }
        return Schedule(
            .forwardOnly, stageCount: ranks, rankCount: ranks, microBatchCount: microBatches,
            placement: .line, compute: compute)
    }
}
