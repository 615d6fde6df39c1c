extension Schedule {
    /// Two stages per rank in a V and every backward split: no bubble in steady state when
    /// `F = B - W = W`, at 1F1B's memory (`2R` activations of stages half as large).
    ///
    /// The pattern needs `2R - 1` micro-batches to close; with fewer, the missing ones are left
    /// out.
    /// Source: Qi et al. 2023, Zero Bubble Pipeline Parallelism, §6 (ZB-V).
    static func zeroBubbleV(ranks: Int, microBatches: Int) -> Schedule {
        let compute = (0 ..< ranks).map { rank -> [Step] in
            var writer = VeeWriter(rank: rank, ranks: ranks)
            writer.warmUp()
            writer.steady(microBatches: max(microBatches, 2 * ranks - 1))
            writer.drain()
            return writer.steps.filter { step in
                let cell = step.forwardCell ?? step.backwardCell ?? step.weightCell
                return cell!.microBatch.rawValue < microBatches
            }
        }
        return Schedule(
            .zeroBubbleV, stageCount: 2 * ranks, rankCount: ranks, microBatchCount: microBatches,
            placement: .vee, compute: compute)
    }
}

/// Counts, for one rank, how far each kind of work has come on its two stages.
private struct VeeWriter {
    let rank: Int
    let ranks: Int
    var steps: [Step] = []
    private var forwards = [0, 0]
    private var inputs = [0, 0]
    private var weights = [0, 0]

    init(rank: Int, ranks: Int) {
        self.rank = rank
        self.ranks = ranks
    }

    mutating func warmUp() {
        for _ in 0 ..< (2 * (ranks - rank) - 1) { forward(0) }
        for _ in 0 ..< rank {
            forward(1)
            forward(0)
        }
        for _ in 0 ..< (ranks - rank) {
            forward(1)
            backward(1)
        }
    }

    mutating func steady(microBatches: Int) {
        while forwards[1] < forwards[0] || forwards[0] < microBatches {
            if forwards[0] < microBatches { forward(0) }
            backward(0)
            forward(1)
            backward(1)
        }
    }

    mutating func drain() {
        for _ in 0 ..< rank {
            input(0)
            input(1)
        }
        for _ in 0 ..< (ranks - rank) {
            input(0)
            weight(0)
        }
        while weights[1] < inputs[1] { weight(1) }
        while weights[0] < inputs[0] { weight(0) }
    }

    private func stage(_ arm: Int) -> Int { arm == 0 ? rank : 2 * ranks - 1 - rank }

    private mutating func forward(_ arm: Int) {
        steps.append(.forward(Cell(stage(arm), forwards[arm])))
        forwards[arm] += 1
    }

    private mutating func input(_ arm: Int) {
        steps.append(.backwardInput(Cell(stage(arm), inputs[arm])))
        inputs[arm] += 1
    }

    private mutating func weight(_ arm: Int) {
        steps.append(.backwardWeight(Cell(stage(arm), weights[arm])))
        weights[arm] += 1
    }

    private mutating func backward(_ arm: Int) {
        input(arm)
        weight(arm)
    }
}
