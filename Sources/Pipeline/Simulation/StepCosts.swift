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

    /// The published bubble of a schedule, or nil where there is none in closed form.
    ///
    /// Exact only where it says: DualPipe's needs `F = B - W = W` and no communication.
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
