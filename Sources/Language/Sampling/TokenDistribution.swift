/// The tokens that may come next and their probabilities, likeliest first where a cut needed the
/// order, else by id.
///
/// Probabilities sum to 1.
public struct TokenDistribution: Sendable {
    /// Token ids.
    public let tokens: [Int]
    /// The probability of each.
    public let probabilities: [Double]

    /// - Parameters:
    ///   - tokens: At least one, each once.
    ///   - weights: Their probabilities, up to a common factor.
    public init(tokens: [Int], weights: [Double]) {
        precondition(!tokens.isEmpty && tokens.count == weights.count)
        let total = weights.reduce(0, +)
        precondition(total > 0 && total.isFinite, "weights sum to \(total)")
        self.tokens = tokens
        probabilities = weights.map { $0 / total }
    }

    /// The token that a number from 0 up to 1 falls on.
    public func token(at uniform: Double) -> Int {
        var sum = 0.0
        for (token, probability) in zip(tokens, probabilities) {
            sum += probability
            if uniform < sum { return token }
        }
        // Rounding left the sum a little below 1.
        return tokens[probabilities.lastIndex { $0 > 0 } ?? 0]
    }
}
