import Foundation

/// The logarithms of the probabilities a model gave tokens, before temperature and penalties.
public struct LogProbabilities: Sendable {
    /// A token and the natural logarithm of its probability.
    public struct Entry: Sendable, Hashable {
        /// The token.
        public let token: Int
        /// At most 0.
        public let logProbability: Float
    }

    /// `log(sum(exp(logits)))`, summed in Float64 in order of id.
    private let normalizer: Double
    private let logits: [Float]

    /// - Parameter logits: `[vocabulary]`.
    public init(_ logits: borrowing Span<Float>) {
        var values: [Float] = []
        values.reserveCapacity(logits.count)
        var peak = -Float.infinity
        for token in logits.indices {
            values.append(logits[token])
            peak = max(peak, logits[token])
        }
        let sum = values.reduce(0.0) { $0 + exp(Double($1 - peak)) }
        normalizer = Double(peak) + log(sum)
        self.logits = values
    }

    /// The logarithm of a token's probability.
    public subscript(token: Int) -> Float { Float(Double(logits[token]) - normalizer) }

    /// The `count` likeliest tokens, likeliest first, the lower id first of equals.
    public func top(_ count: Int) -> [Entry] {
        guard count > 0 else { return [] }
        var best: [Int] = []
        for token in logits.indices {
            if best.count == count, logits[token] <= logits[best[count - 1]] { continue }
            let place = best.firstIndex { logits[$0] < logits[token] } ?? best.count
            best.insert(token, at: place)
            if best.count > count { best.removeLast() }
        }
        return best.map { Entry(token: $0, logProbability: self[$0]) }
    }
}
