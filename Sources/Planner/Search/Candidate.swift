/// One way to cut a model, and what it comes to.
package struct Candidate: Codable, Hashable, Sendable {
    /// Ranks that share the routed experts.
    package let ep: Int
    /// Stages.
    package let pp: Int
    /// Copies of what is not an expert.
    package let dp: Int
    /// Ranks that share attention.
    package let tp: Int
    /// Copies of experts beyond one of each.
    package let redundantExperts: Int
    /// Requests, prompts or sequences of a data-parallel copy.
    package let batch: Int
    /// Ranks of one such deployment.
    package let ranks: Int
    /// Deployments that a target needs; 1 without one.
    package let units: Int
    /// TPOT, TTFT or a training step.
    package let seconds: Double
    /// Tokens per second of a rank.
    package let tokensPerSecondPerRank: Double
    /// What the fullest rank holds.
    package let memoryBytes: Double
    /// Dollars of a million tokens, nil without a price.
    package let dollarsPerMillionTokens: Double?
}
