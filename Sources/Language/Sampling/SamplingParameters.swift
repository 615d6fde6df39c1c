/// How the next token is chosen from its logits.
///
/// Applied in this order: bias, penalties, temperature, top-k, top-p, min-p; each cut sees the
/// distribution that the cut before it left, renormalised.
public struct SamplingParameters: Codable, Sendable, Hashable {
    /// Divides the logits; 0 takes the likeliest token.
    ///
    /// Default 1.
    public var temperature: Double
    /// Keeps the smallest set of likeliest tokens whose probabilities sum to this.
    ///
    /// Default 1: all.
    public var topP: Double
    /// Keeps this many likeliest tokens.
    ///
    /// Default 0: all.
    public var topK: Int
    /// Drops tokens less likely than this fraction of the likeliest.
    ///
    /// Default 0: none.
    public var minP: Double
    /// Divides positive and multiplies negative logits of tokens of the prompt or the text (arXiv
    /// 1909.05858).
    ///
    /// Default 1: nothing.
    public var repetitionPenalty: Double
    /// Subtracted once from the logit of a token generated before.
    ///
    /// Default 0.
    public var presencePenalty: Double
    /// Subtracted from a token's logit for each time it was generated.
    ///
    /// Default 0.
    public var frequencyPenalty: Double
    /// Added to the logits of these tokens.
    ///
    /// Default none.
    public var logitBias: [Int: Double]
    /// The same seed gives the same text, whatever shares the batch.
    ///
    /// Default 0.
    public var seed: UInt64

    /// Parameters that change nothing unless told.
    public init(
        temperature: Double = 1, topP: Double = 1, topK: Int = 0, minP: Double = 0,
        repetitionPenalty: Double = 1, presencePenalty: Double = 0, frequencyPenalty: Double = 0,
        logitBias: [Int: Double] = [:], seed: UInt64 = 0
    ) {
        self.temperature = temperature
        self.topP = topP
        self.topK = topK
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.logitBias = logitBias
        self.seed = seed
    }

    /// Takes the likeliest token.
    public static let greedy = SamplingParameters(temperature: 0)

    /// Checks every value; a `nan` is outside every range.
    ///
    /// - Throws: `LanguageError.request`, which names the parameter, its value and the limits.
    public func validate(vocabularySize: Int) throws(LanguageError) {
        func check<Value: Comparable>(
            _ name: String, _ value: Value, _ range: ClosedRange<Value>
        ) throws(LanguageError) {
            guard range.contains(value) else {
                throw .request(
                    "\(name) is \(value); it goes from \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try check("temperature", temperature, 0 ... 100)
        guard topP > 0, topP <= 1 else {
            throw .request("top_p is \(topP); it goes from above 0 to 1")
        }
        try check("top_k", topK, 0 ... Int.max)
        try check("min_p", minP, 0 ... 1)
        try check("repetition_penalty", repetitionPenalty, 0.01 ... 100)
        try check("presence_penalty", presencePenalty, -100 ... 100)
        try check("frequency_penalty", frequencyPenalty, -100 ... 100)
        for (token, bias) in logitBias.sorted(by: { $0.key < $1.key }) {
            try check("logit_bias token", token, 0 ... vocabularySize - 1)
            try check("logit_bias of token \(token)", bias, -1000 ... 1000)
        }
    }
}
