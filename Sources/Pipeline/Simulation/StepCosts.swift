/// How long the steps of a schedule take, in any one unit of time.
public struct StepCosts: Codable, Hashable, Sendable {
    /// A forward of one cell.
    public var forward: Double
    /// Its input gradients.
    public var backwardInput: Double
    /// Its weight gradients.
    public var backwardWeight: Double
    /// A forward and a full backward run as one; the sum of the parts when nil.
    public var overlapped: Double?
    /// A transfer from rank to rank.
    public var communication: Double

    /// Describes a machine; the defaults are the units of the published figures.
    public init(
        forward: Double = 1, backwardInput: Double = 1, backwardWeight: Double = 1,
        overlapped: Double? = nil, communication: Double = 0
    ) {
        self.forward = forward
        self.backwardInput = backwardInput
        self.backwardWeight = backwardWeight
        self.overlapped = overlapped
        self.communication = communication
    }

    /// Input and weight gradients made at once.
    public var backward: Double { backwardInput + backwardWeight }

    /// An overlapped pair.
    public var pair: Double { overlapped ?? forward + backward }

    /// How long one step keeps the rank's cores.
    public func duration(of step: Step) -> Double {
        switch step {
        case .forward: forward
        case .backward: backward
        case .backwardInput: backwardInput
        case .backwardWeight: backwardWeight
        case .overlapped: pair
        case .send, .receive: 0
        }
    }

    /// The same machine with stages `factor` times as large; a transfer's size does not change.
    public func scaled(by factor: Double) -> StepCosts {
        StepCosts(
            forward: forward * factor, backwardInput: backwardInput * factor,
            backwardWeight: backwardWeight * factor, overlapped: overlapped.map { $0 * factor },
            communication: communication)
    }

    /// The published bubble of a schedule where it is the bubble of every size, else nil: transfers
    /// take no time, and where weight gradients fill gaps `F = B - W = W` and a pair takes as long
    /// as its parts (`isBalanced`).
    public func exactBubble(_ plan: Schedule) -> Double? {
        guard communication == 0 else { return nil }
        let ranks = plan.rankCount
        switch plan.kind {
        case .forwardOnly, .oneForwardOneBackward: break
        case .zeroBubbleOne:
            // Fewer forwards than ranks leave gaps that weight gradients do not fill.
            guard isBalanced, plan.microBatchCount >= ranks else { return nil }
        case .zeroBubbleV, .dualPipe, .dualPipeV:
            guard isBalanced else { return nil }
        }
        return publishedBubble(plan.kind, ranks: ranks)
    }

    /// Whether all steps take the same time, and a pair that of its parts.
    private var isBalanced: Bool {
        forward == backwardInput && forward == backwardWeight && pair == forward + backward
    }

    /// The published bubble of a schedule, or nil where there is none in closed form.
    ///
    /// The bubble itself only where `exactBubble` has it.
    public func publishedBubble(_ kind: ScheduleKind, ranks: Int) -> Double? {
        let others = Double(ranks - 1)
        switch kind {
        case .forwardOnly: return others * forward
        case .oneForwardOneBackward: return others * (forward + backward)
        case .zeroBubbleOne: return others * (forward + backward - 2 * backwardWeight)
        case .zeroBubbleV: return nil
        case .dualPipe:
            return (Double(ranks) / 2 - 1) * (pair + backward - 3 * backwardWeight)
        case .dualPipeV: return others * (pair + backward - 3 * backwardWeight)
        }
    }
}
