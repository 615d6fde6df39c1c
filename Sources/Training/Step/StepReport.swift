/// What a step came to; the same on every rank.
struct StepReport: Sendable {
    /// Mean next-token loss.
    var loss: Double
    /// Mean loss of the MTP module.
    var mtpLoss: Double
    /// Before clipping.
    var gradientNorm: Double
    /// Learning rate.
    var rate: Double
    /// Largest over layers of (most loaded expert / mean - 1).
    var expertViolation: Double
    /// What was not finite, where the weights were therefore left alone.
    var trouble: String?
    /// Whether the weights were left alone.
    var wasSkipped: Bool { trouble != nil }
}
