/// What changes the weights after each step.
struct OptimizerOptions: Codable, Hashable, Sendable {
    /// The rate over the run.
    var rate: LearningRate
    /// Decay of the first moment.
    var beta1: Float = 0.9
    /// Decay of the second moment.
    var beta2: Float = 0.95
    /// Keeps AdamW's quotient finite.
    var epsilon: Float = 1e-8
    /// Weight decay of matrices; vectors have none.
    var decay: Float = 0.1
    /// Largest gradient norm.
    var clip: Double = 1
    /// Step of the balance bias (gamma).
    var biasStep: Float = 0.001
    /// Steps after which the balance bias stays as it is (report, §4.2: the last 500 of 14,800
    /// billion tokens); nil for none.
    var biasSteps: Int?
    /// Weight of the sequence-wise balance loss (alpha).
    var balanceWeight: Float = 0.0001
    /// Weight of the MTP loss (lambda).
    var mtpWeight: Float = 0.3

    /// The report's values with the given rate.
    init(rate: LearningRate) { self.rate = rate }
}
