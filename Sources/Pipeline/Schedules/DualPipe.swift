extension Schedule {
    /// Both ends of the pipeline feed micro-batches: while a rank runs one forward it runs
    /// another's backward, and each computes while the other communicates.
    ///
    /// Bubble `(R/2 - 1)(F&B + B - 3W)`, exact when `F = B - W = W`; `R + 1` activations; every
    /// stage is held twice. Source: DeepSeek-V3 report, §3.2.1 and Figure 5.
    static func dualPipe(ranks: Int, microBatches: Int) throws(ScheduleError) -> Schedule {
        guard ranks.isMultiple(of: 2) else { throw .oddRankCount(.dualPipe, ranks: ranks) }
        guard microBatches.isMultiple(of: 2) else {
            throw .oddMicroBatchCount(.dualPipe, microBatches: microBatches)
        }
        guard microBatches >= 2 * ranks else {
            throw .tooFewMicroBatches(
                .dualPipe, microBatches: microBatches, minimum: 2 * ranks, ranks: ranks)
        }
        let half = ranks / 2
        let compute = (0 ..< ranks).map { rank in
            // A rank of the second half sees the two directions swapped.
            let isMirrored = rank >= half
            let depth = min(rank, ranks - 1 - rank)
            let stages = [depth, ranks - 1 - depth]
            let firstMicroBatches = isMirrored ? [microBatches / 2, 0] : [0, microBatches / 2]
            var writer = BidirectionalWriter(
                depth: depth, half: half, microBatchesEachWay: microBatches / 2, stages: stages,
                firstMicroBatches: firstMicroBatches)
            return writer.write()
        }
        return Schedule(
            .dualPipe, stageCount: ranks, rankCount: ranks, microBatchCount: microBatches,
            placement: .bidirectional, compute: compute)
    }
}

/// Writes the eight phases that DualPipe and DualPipeV share, for one rank.
///
/// `depth` is the distance from the nearer end of the pipeline, `half` the distance from an end to
/// the middle. Direction 0 enters at this rank's end, direction 1 comes back from the middle.
struct BidirectionalWriter {
    private let depth: Int
    private let half: Int
    private let microBatchesEachWay: Int
    private let stages: [Int]
    private var forwards: [Int]
    private var backwards: [Int]
    private var waitingWeights: [Cell] = []
    private var steps: [Step] = []

    init(
        depth: Int, half: Int, microBatchesEachWay: Int, stages: [Int], firstMicroBatches: [Int]
    ) {
        self.depth = depth
        self.half = half
        self.microBatchesEachWay = microBatchesEachWay
        self.stages = stages
        forwards = firstMicroBatches
        backwards = firstMicroBatches
    }

    mutating func write() -> [Step] {
        fill()
        main()
        drain()
        precondition(waitingWeights.isEmpty, "\(waitingWeights.count) weight gradients are left")
        return steps
    }

    /// Phases 1 to 3: forwards until the first backward arrives, then split backwards.
    private mutating func fill() {
        let toMiddle = half - depth - 1
        for _ in 0 ..< (2 * toMiddle) { forward(0) }
        for _ in 0 ... depth {
            forward(0)
            forward(1)
        }
        for _ in 0 ..< toMiddle {
            backwardInput(1)
            backwardWeight()
            forward(1)
        }
    }

    /// Phases 4 and 5: a forward of one direction with a backward of the other.
    private mutating func main() {
        for round in 0 ..< (microBatchesEachWay - 2 * half + depth + 1) {
            if round == 0 && depth == half - 1 {
                // In the middle the next rank waits for this forward: it goes ahead unpaired.
                forward(0)
                backward(1)
            } else {
                overlapped(forward: 0, backward: 1)
            }
            overlapped(forward: 1, backward: 0)
        }
        for _ in 0 ..< (half - depth - 1) {
            backward(1)
            overlapped(forward: 1, backward: 0)
        }
    }

    /// Phases 6 to 8: the last backwards, of which the second half is split, and their weights.
    private mutating func drain() {
        for index in 0 ..< (2 * (depth + 1)) {
            let direction = index.isMultiple(of: 2) ? 1 : 0
            if index <= depth { backward(direction) } else { backwardInput(direction) }
        }
        for _ in 0 ..< (half - depth - 1) {
            backwardWeight()
            backwardInput(0)
        }
        for _ in 0 ... depth { backwardWeight() }
    }

    private mutating func nextForward(_ direction: Int) -> Cell {
        defer { forwards[direction] += 1 }
        return Cell(stages[direction], forwards[direction])
    }

    private mutating func nextBackward(_ direction: Int) -> Cell {
        defer { backwards[direction] += 1 }
        return Cell(stages[direction], backwards[direction])
    }

    private mutating func forward(_ direction: Int) {
        steps.append(.forward(nextForward(direction)))
    }

    private mutating func backward(_ direction: Int) {
        steps.append(.backward(nextBackward(direction)))
    }

    private mutating func backwardInput(_ direction: Int) {
        let cell = nextBackward(direction)
        steps.append(.backwardInput(cell))
        waitingWeights.append(cell)
    }

    private mutating func backwardWeight() {
        steps.append(.backwardWeight(waitingWeights.removeFirst()))
    }

    private mutating func overlapped(forward: Int, backward: Int) {
        steps.append(
            .overlapped(forward: nextForward(forward), backward: nextBackward(backward)))
    }
}
