import Foundation

/// Chooses the tokens of one text.
///
/// A value: a copy continues from the same place, so drafts can be tried and dropped.
public struct Sampler: Sendable {
    /// How tokens are chosen.
    public let parameters: SamplingParameters
    /// The numbers of the text's seed.
    public let random: CounterRandom
    /// How many tokens were appended: the place of the next draw.
    package private(set) var generatedCount = 0

    private var promptTokens: Set<Int> = []
    private var generatedCounts: [Int: Int] = [:]

    /// - Parameter prompt: The text so far, which the repetition penalty counts.
    public init(_ parameters: SamplingParameters, prompt: [Int] = []) {
        self.parameters = parameters
        random = CounterRandom(seed: parameters.seed)
        if parameters.repetitionPenalty != 1 { promptTokens = Set(prompt) }
    }

    /// Notes that a token was taken into the text.
    public mutating func append(_ token: Int) {
        generatedCount += 1
        generatedCounts[token, default: 0] += 1
    }

    /// Whether logits are used as they come, so that only their order matters.
    private var isPlain: Bool {
        parameters.logitBias.isEmpty && parameters.repetitionPenalty == 1
            && parameters.presencePenalty == 0 && parameters.frequencyPenalty == 0
    }

    /// Chooses the next token; `append` it if it is taken.
    ///
    /// - Parameters:
    ///   - logits: `[vocabulary]`, as the model gave them.
    ///   - allowed: Which tokens may come next, by id; nil for all. Ids beyond its end may not.
    ///   - forbidden: Tokens that may not come next.
    /// - Throws: `LanguageError.request` if logits are NaN or no token may come.
    public func sample(
        _ logits: borrowing Span<Float>, allowed: [Bool]? = nil, forbidden: [Int] = []
    ) throws(LanguageError) -> Int {
        if parameters.temperature == 0 {
            let asTheyCome = isPlain && allowed == nil && forbidden.isEmpty
            return asTheyCome
                ? try Self.likeliest(logits)
                : try Self.likeliest(adjust(logits, allowed, forbidden).span)
        }
        let distribution = try distribution(logits, allowed: allowed, forbidden: forbidden)
        return distribution.token(at: random.uniform(generatedCount, .token))
    }

    /// The distribution the next token is drawn from; for temperature 0, all of it on one token.
    package func distribution(
        _ logits: borrowing Span<Float>, allowed: [Bool]? = nil, forbidden: [Int] = []
    ) throws(LanguageError) -> TokenDistribution {
        let adjusted = adjust(logits, allowed, forbidden)
        let best = try Self.likeliest(adjusted.span)
        if parameters.temperature == 0 { return TokenDistribution(tokens: [best], weights: [1]) }
        return cut(adjusted, peak: Double(adjusted[best]))
    }

    /// The logits after mask, bias and penalties.
    private func adjust(
        _ logits: borrowing Span<Float>, _ allowed: [Bool]?, _ forbidden: [Int]
    ) -> [Float] {
        var values: [Float] = []
        values.reserveCapacity(logits.count)
        for token in logits.indices { values.append(logits[token]) }
        for (token, bias) in parameters.logitBias where values.indices.contains(token) {
            values[token] += Float(bias)
        }
        if parameters.repetitionPenalty != 1 {
            let penalty = Float(parameters.repetitionPenalty)
            for token in promptTokens.union(generatedCounts.keys)
            where values.indices.contains(token) {
                values[token] =
                    values[token] > 0 ? values[token] / penalty : values[token] * penalty
            }
        }
        if parameters.presencePenalty != 0 || parameters.frequencyPenalty != 0 {
            for (token, count) in generatedCounts where values.indices.contains(token) {
                values[token] -= Float(
                    parameters.presencePenalty + parameters.frequencyPenalty * Double(count))
            }
        }
        if let allowed {
            for token in values.indices where token >= allowed.count || !allowed[token] {
                values[token] = -.infinity
            }
        }
        for token in forbidden where values.indices.contains(token) { values[token] = -.infinity }
        return values
    }

    /// Temperature, top-k, top-p and min-p.
    private func cut(_ logits: [Float], peak: Double) -> TokenDistribution {
        let scale = 1 / parameters.temperature
        var candidates: [Candidate] = []
        for token in logits.indices {
            let exponent = (Double(logits[token]) - peak) * scale
            guard exponent >= Self.floors.last! else { continue }
            candidates.append(Candidate(token: token, weight: exp(exponent)))
        }
        if parameters.topK > 0 && parameters.topK < candidates.count {
            candidates = Self.likeliest(candidates) { $0.count >= parameters.topK }
            candidates.removeLast(candidates.count - parameters.topK)
        }
        if parameters.topP < 1 {
            let target = parameters.topP * Self.total(candidates)
            candidates = Self.likeliest(candidates) { Self.total($0) >= target }
            var sum = 0.0
            let end = candidates.firstIndex { candidate in
                sum += candidate.weight
                return sum >= target
            }
            if let end { candidates.removeLast(candidates.count - 1 - end) }
        }
        if parameters.minP > 0 { candidates.removeAll { $0.weight < parameters.minP } }
        return TokenDistribution(
            tokens: candidates.map(\.token), weights: candidates.map(\.weight))
    }

    /// A token and its probability over the likeliest one's.
    private struct Candidate {
        var token: Int
        var weight: Double
    }

    /// Logarithms of weights.
    ///
    /// What lies below the last changes no sum in Float64.
    private static let floors = [-4.0, -8, -16, -32, -80]

    private static func total(_ candidates: [Candidate]) -> Double {
        candidates.reduce(0) { $0 + $1.weight }
    }

    /// The likeliest candidates that are enough, in order; a whole vocabulary is sorted only when
    /// its distribution is flat.
    private static func likeliest(
        _ candidates: [Candidate], enough: ([Candidate]) -> Bool
    ) -> [Candidate] {
        var head = candidates
        for floor in floors {
            let limit = exp(floor)
            head = candidates.filter { $0.weight >= limit }
            if enough(head) { break }
        }
        return head.sorted { ($0.weight, $1.token) > ($1.weight, $0.token) }
    }

    /// The token of the largest logit, the lowest id of equals.
    public static func likeliest(_ logits: borrowing Span<Float>) throws(LanguageError) -> Int {
        var best = -1
        var peak = -Float.infinity
        for token in logits.indices {
            let logit = logits[token]
            if logit > peak {
                peak = logit
                best = token
            } else if logit.isNaN {
                throw .request("the logit of token \(token) is NaN")
            }
        }
        guard best >= 0, peak.isFinite else {
            throw .request("no token may come next: the largest logit is \(peak)")
        }
        return best
    }
}
