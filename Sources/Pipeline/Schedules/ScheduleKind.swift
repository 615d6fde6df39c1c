/// The families of schedules.
public enum ScheduleKind: String, CaseIterable, Codable, Sendable {
    /// Forwards only: inference.
    case forwardOnly = "forward-only"
    /// One forward, one backward (PipeDream-flush).
    case oneForwardOneBackward = "1f1b"
    /// 1F1B with weight gradients moved into the bubbles (ZB-H1, also called ZB1P).
    case zeroBubbleOne = "zb1p"
    /// Zero bubble over two stages per rank in a V.
    case zeroBubbleV = "zbv"
    /// Bidirectional, with overlapped forward and backward.
    case dualPipe = "dualpipe"
    /// DualPipe cut in half: both directions on half the ranks.
    case dualPipeV = "dualpipev"

    /// As tables print it.
    public var title: String {
        switch self {
        case .forwardOnly: "forward-only"
        case .oneForwardOneBackward: "1F1B"
        case .zeroBubbleOne: "ZB1P"
        case .zeroBubbleV: "ZB-V"
        case .dualPipe: "DualPipe"
        case .dualPipeV: "DualPipeV"
        }
    }

    /// Stages that each rank holds for one copy of the model.
    public func stageCount(ranks: Int) -> Int {
        switch self {
        case .zeroBubbleV, .dualPipeV: 2 * ranks
        default: ranks
        }
    }

    /// Copies of the model's parameters over all ranks.
    public var parameterCopies: Int { self == .dualPipe ? 2 : 1 }

    /// Writes the steps of every rank.
    ///
    /// - Throws: `ScheduleError` when the family cannot serve these sizes.
    public func schedule(ranks: Int, microBatches: Int) throws(ScheduleError) -> Schedule {
        guard ranks >= 1, microBatches >= 1 else {
            throw .notPositive(ranks: ranks, microBatches: microBatches)
        }
        switch self {
        case .forwardOnly: return .forwardOnly(ranks: ranks, microBatches: microBatches)
        case .oneForwardOneBackward:
            return .oneForwardOneBackward(ranks: ranks, microBatches: microBatches)
        case .zeroBubbleOne: return .zeroBubbleOne(ranks: ranks, microBatches: microBatches)
        case .zeroBubbleV: return .zeroBubbleV(ranks: ranks, microBatches: microBatches)
        case .dualPipe: return try Schedule.dualPipe(ranks: ranks, microBatches: microBatches)
        case .dualPipeV: return try Schedule.dualPipeV(ranks: ranks, microBatches: microBatches)
        }
    }
}

/// Sizes that a family of schedules cannot serve.
public enum ScheduleError: Error, Equatable, CustomStringConvertible {
    /// Nothing to do or nobody to do it.
    case notPositive(ranks: Int, microBatches: Int)
    /// DualPipe pairs rank `r` with rank `R-1-r`.
    case oddRankCount(ScheduleKind, ranks: Int)
    /// DualPipe sends half of the micro-batches each way.
    case oddMicroBatchCount(ScheduleKind, microBatches: Int)
    /// The main phase needs a full pipeline.
    case tooFewMicroBatches(ScheduleKind, microBatches: Int, minimum: Int, ranks: Int)

    /// The fact, the value, the limit, and where the limit comes from.
    public var description: String {
        switch self {
        case .notPositive(let ranks, let microBatches):
            "\(ranks) ranks with \(microBatches) micro-batches: both must be at least 1"
        case .oddRankCount(let kind, let ranks):
            "\(ranks) ranks are odd: \(kind.title) pairs rank r with rank R-1-r"
        case .oddMicroBatchCount(let kind, let microBatches):
            "\(microBatches) micro-batches are odd: \(kind.title) sends half of them each way"
        case .tooFewMicroBatches(let kind, let microBatches, let minimum, let ranks):
            "\(microBatches) micro-batches are too few: \(kind.title) over \(ranks) ranks needs "
                + "at least \(minimum)"
        }
    }
}
