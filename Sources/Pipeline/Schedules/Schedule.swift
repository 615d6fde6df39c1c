public import Topology

/// Which rank runs a cell.
enum StagePlacement: Hashable, Sendable {
    /// Stage `s` on rank `s`.
    case line
    /// Stages `r` and `2R-1-r` on rank `r`: down and back up the ranks.
    case vee
    /// Every rank holds stages `r` and `R-1-r`; the first half of the micro-batches enters at rank
    /// 0, the second half at the last rank.
    case bidirectional
}

/// The order of work of every rank: one list of steps each.
public struct Schedule: Hashable, Sendable {
    /// Which family wrote it.
    public let kind: ScheduleKind
    /// Positions in the pipeline.
    public let stageCount: Int
    /// Processes that share them.
    public let rankCount: Int
    /// Slices of the batch.
    public let microBatchCount: Int
    /// Which rank runs what.
    let placement: StagePlacement
    /// Per rank, what it does, in order.
    public let steps: [[Step]]

    /// Adds to compute steps the receives before and the sends after them.
    init(
        _ kind: ScheduleKind, stageCount: Int, rankCount: Int, microBatchCount: Int,
        placement: StagePlacement, compute: [[Step]]
    ) {
        self.kind = kind
        self.stageCount = stageCount
        self.rankCount = rankCount
        self.microBatchCount = microBatchCount
        self.placement = placement
        let bare = Schedule(
            kind: kind, stageCount: stageCount, rankCount: rankCount,
            microBatchCount: microBatchCount, placement: placement, steps: [])
        steps = compute.enumerated().map { rank, list in
            list.flatMap { bare.withTransfers($0, on: Rank(rawValue: rank)) }
        }
    }

    /// Takes steps as they are, for tests that break a schedule on purpose.
    init(
        kind: ScheduleKind, stageCount: Int, rankCount: Int, microBatchCount: Int,
        placement: StagePlacement, steps: [[Step]]
    ) {
        self.kind = kind
        self.stageCount = stageCount
        self.rankCount = rankCount
        self.microBatchCount = microBatchCount
        self.placement = placement
        self.steps = steps
    }

    /// The rank that runs this cell.
    public func rank(of cell: Cell) -> Rank {
        let stage = cell.stage.rawValue
        switch placement {
        case .line: return Rank(rawValue: stage)
        case .vee: return Rank(rawValue: min(stage, stageCount - 1 - stage))
        case .bidirectional:
            let fromFirst = cell.microBatch.rawValue < microBatchCount / 2
            return Rank(rawValue: fromFirst ? stage : stageCount - 1 - stage)
        }
    }

    /// The stages whose parameters this rank holds, in ascending order.
    public func stages(of rank: Rank) -> [StageID] {
        let r = rank.rawValue
        let stages = placement == .line ? [r] : [r, stageCount - 1 - r].sorted()
        return stages.map(StageID.init(rawValue:))
    }

    /// The largest number of activations that the literature gives for any rank, in cells.
    var publishedPeakActivations: Int {
        switch kind {
        case .forwardOnly: 0
        case .oneForwardOneBackward, .zeroBubbleOne: min(rankCount, microBatchCount)
        case .zeroBubbleV: min(2 * rankCount, 2 * microBatchCount)
        case .dualPipe: rankCount + 1
        case .dualPipeV: 2 * rankCount + 1
        }
    }

    private func withTransfers(_ step: Step, on rank: Rank) -> [Step] {
        var before: [Step] = []
        var after: [Step] = []
        if let cell = step.forwardCell {
            if let previous = neighbour(of: cell, by: -1), self.rank(of: previous) != rank {
                before.append(
                    .receive(
                        Transfer(
                            content: .activation, source: previous, peer: self.rank(of: previous))))
            }
            if let next = neighbour(of: cell, by: 1), self.rank(of: next) != rank {
                after.append(
                    .send(Transfer(content: .activation, source: cell, peer: self.rank(of: next))))
            }
        }
        if let cell = step.backwardCell {
            if let next = neighbour(of: cell, by: 1), self.rank(of: next) != rank {
                before.append(
                    .receive(
                        Transfer(content: .gradient, source: next, peer: self.rank(of: next))))
            }
            if let previous = neighbour(of: cell, by: -1), self.rank(of: previous) != rank {
                after.append(
                    .send(Transfer(content: .gradient, source: cell, peer: self.rank(of: previous)))
                )
            }
        }
        return before + [step] + after
    }

    /// The same micro-batch some stages on, or nil beyond the ends.
    func neighbour(of cell: Cell, by offset: Int) -> Cell? {
        let stage = cell.stage.rawValue + offset
        return (0 ..< stageCount).contains(stage) ? Cell(stage, cell.microBatch.rawValue) : nil
    }
}
