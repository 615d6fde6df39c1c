/// How ranks are shared out between prefill and decode, so that neither waits for the other.
package struct RoleSplit: Codable, Sendable {
    /// Share of ranks that read prompts.
    package let prefillShare: Double
    /// Requests per second of one rank of either role.
    package let requestsPerSecondPerRank: Double
    /// Output tokens per second of one rank of either role.
    package let outputPerSecondPerRank: Double

    /// - Parameters:
    ///   - prefill: Prompt tokens per second of a rank that reads.
    ///   - decode: Output tokens per second of a rank that writes.
    package init(prefill: Double, decode: Double, promptTokens: Int, answerTokens: Int) {
        let reading = Double(promptTokens) / prefill
        let writing = Double(answerTokens) / decode
        prefillShare = reading / (reading + writing)
        requestsPerSecondPerRank = 1 / (reading + writing)
        outputPerSecondPerRank = Double(answerTokens) / (reading + writing)
    }
}
