extension Schedule {
    /// Every micro-batch forwards through the stages: inference and validation.
    ///
    /// Makespan `(R - 1 + m) F` over a line; nothing is kept for a backward. Over a V a rank takes
    /// both of its stages for one micro-batch before the next one.
    static func forwardOnly(
        ranks: Int, microBatches: Int, placement: StagePlacement = .line
    ) -> Schedule {
        let isVee = placement == .vee
        let compute = (0 ..< ranks).map { rank in
            (0 ..< microBatches).flatMap { microBatch -> [Step] in
                let first = Step.forward(Cell(rank, microBatch))
                return isVee ? [first, .forward(Cell(2 * ranks - 1 - rank, microBatch))] : [first]
            }
        }
        return Schedule(
            .forwardOnly, stageCount: isVee ? 2 * ranks : ranks, rankCount: ranks,
            microBatchCount: microBatches, placement: isVee ? .vee : .line, compute: compute)
    }

    /// Forwards of some micro-batches through the stages where this schedule has them.
    public func forwardOnly(microBatches: Int) -> Schedule {
        .forwardOnly(ranks: rankCount, microBatches: microBatches, placement: placement)
    }
}
