/// What a step came to; the same on every rank.
public struct StepReport: Sendable {
    /// Mean next-token loss.
    public var loss: Double
    /// Mean loss of the MTP module.
    public var mtpLoss: Double
    /// Before clipping.
    public var gradientNorm: Double
    /// Learning rate.
    public var rate: Double
    /// Largest over layers of (most loaded expert / mean - 1).
    public var expertViolation: Double
    /// What was not finite, where the weights were therefore left alone.
    public var trouble: String?
    /// Whether the weights were left alone.
    public var wasSkipped: Bool { trouble != nil }
}
