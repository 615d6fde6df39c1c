import Foundation

/// Warm-up, constant, then a cosine down to a floor (DeepSeek-V3 report, §4.2).
public struct LearningRate: Codable, Hashable, Sendable {
    /// The rate after warm-up.
    public var peak: Double
    /// The rate at the end.
    public var floor: Double
    /// Steps of the linear rise from 0.
    public var warmUpSteps: Int
    /// Steps at the peak after warm-up.
    public var constantSteps: Int
    /// The last step of the cosine.
    public var totalSteps: Int

    /// States a schedule.
    public init(
        peak: Double, floor: Double, warmUpSteps: Int, constantSteps: Int = 0, totalSteps: Int
    ) {
        self.peak = peak
        self.floor = floor
        self.warmUpSteps = warmUpSteps
        self.constantSteps = constantSteps
        self.totalSteps = totalSteps
    }

    /// The rate of a step, counted from 1.
    public func rate(step: Int) -> Double {
        if step <= warmUpSteps { return peak * Double(step) / Double(max(warmUpSteps, 1)) }
        let begin = warmUpSteps + constantSteps
        if step <= begin { return peak }
        let progress = min(1, Double(step - begin) / Double(max(totalSteps - begin, 1)))
        return floor + (peak - floor) * (1 + cos(.pi * progress)) / 2
    }
}

/// What changes the weights after each step.
public struct OptimizerOptions: Codable, Hashable, Sendable {
    /// The rate over the run.
    public var rate: LearningRate
    /// Decay of the first moment.
    public var beta1: Float = 0.9
    /// Decay of the second moment.
    public var beta2: Float = 0.95
    /// Keeps AdamW's quotient finite.
    public var epsilon: Float = 1e-8
    /// Weight decay of matrices; vectors have none.
    public var decay: Float = 0.1
    /// Largest gradient norm.
    public var clip: Double = 1
    /// Step of the balance bias (gamma).
    public var biasStep: Float = 0.001
    /// Steps after which the balance bias stays as it is (report, §4.2: the last 500 of 14,800
    /// billion tokens); nil for none.
    public var biasSteps: Int?
    /// Weight of the sequence-wise balance loss (alpha).
    public var balanceWeight: Float = 0.0001
    /// Weight of the MTP loss (lambda).
    public var mtpWeight: Float = 0.3

    /// The report's values with the given rate.
    public init(rate: LearningRate) { self.rate = rate }
}
