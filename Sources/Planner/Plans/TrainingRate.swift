/// What a measured or planned training rate comes to over a run.
package struct TrainingRate: Sendable {
    /// Tokens per second of one rank.
    package let tokensPerSecondPerRank: Double
    /// The network.
    package let model: ModelShape
    /// Tokens of a sequence.
    package let sequence: Int
    /// Peak of a rank, operations per second.
    package let peak: Double

    package init(
        tokensPerSecondPerRank: Double, model: ModelShape, sequence: Int, peak: Double
    ) {
        self.tokensPerSecondPerRank = tokensPerSecondPerRank
        self.model = model
        self.sequence = sequence
        self.peak = peak
    }

    /// Operations per second of one rank that the model needs.
    package func operationsPerSecond(isCausal: Bool) -> Double {
        tokensPerSecondPerRank
            * model.trainingOperations(sequence: sequence, isCausal: isCausal)
    }

    /// MFU: the share of the peak.
    package func utilization(isCausal: Bool) -> Double {
        operationsPerSecond(isCausal: isCausal) / peak
    }

    /// Rank-hours of a run.
    package func hours(tokens: Double) -> Double { tokens / tokensPerSecondPerRank / 3600 }
}
