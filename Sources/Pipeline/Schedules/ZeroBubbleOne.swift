extension Schedule {
    /// 1F1B with the backward split: input gradients go on at once, weight gradients wait and fill
    /// the bubbles of the drain.
    ///
    /// Rank `r` of 1F1B holds `R - r` activations; here it may hold `R`, so it can leave `r` weight
    /// gradients waiting and no rank holds more than rank 0 did. Bubble `(R - 1)(F + B - 2W)`.
    /// Source: Qi et al. 2023, Zero Bubble Pipeline Parallelism, §2.1 (ZB-H1).
    static func zeroBubbleOne(ranks: Int, microBatches: Int) -> Schedule {
        let compute = (0 ..< ranks).map { rank in
            let warmUp = min(ranks - 1 - rank, microBatches)
            var steps = (0 ..< warmUp).map { Step.forward(Cell(rank, $0)) }
            var weights = 0
            for backward in 0 ..< microBatches {
                let forward = backward + warmUp
                if forward < microBatches { steps.append(.forward(Cell(rank, forward))) }
                steps.append(.backwardInput(Cell(rank, backward)))
                if backward - weights >= rank {
                    steps.append(.backwardWeight(Cell(rank, weights)))
                    weights += 1
                }
            }
            steps += (weights ..< microBatches).map { .backwardWeight(Cell(rank, $0)) }
            return steps
        }
        return Schedule(
            .zeroBubbleOne, stageCount: ranks, rankCount: ranks, microBatchCount: microBatches,
            placement: .line, compute: compute)
    }
}
