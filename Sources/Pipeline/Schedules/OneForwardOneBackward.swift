extension Schedule {
    /// Fills the pipeline, then alternates one forward and one backward, so that rank `r` never
    /// holds more than `R - r` activations.
    ///
    /// Bubble `(R - 1)(F + B)`. Source: PipeDream-flush, Narayanan et al. 2021, §2.2.
    static func oneForwardOneBackward(ranks: Int, microBatches: Int) -> Schedule {
        let compute = (0 ..< ranks).map { rank in
            let warmUp = min(ranks - 1 - rank, microBatches)
            var steps = (0 ..< warmUp).map { Step.forward(Cell(rank, $0)) }
            for backward in 0 ..< microBatches {
                let forward = backward + warmUp
                if forward < microBatches { steps.append(.forward(Cell(rank, forward))) }
                steps.append(.backward(Cell(rank, backward)))
            }
            return steps
        }
        return Schedule(
            .oneForwardOneBackward, stageCount: ranks, rankCount: ranks,
            microBatchCount: microBatches, placement: .line, compute: compute)
    }
}
