/// A token and the natural logarithm of its probability.
public struct TokenLogprob: Codable, Hashable, Sendable {
    /// The token.
    public var token: Int
    /// Under the model's own distribution, before temperature and penalties.
    package var logprob: Float

    /// Pairs a token with its log-probability.
    public init(token: Int, logprob: Float) {
        self.token = token
        self.logprob = logprob
    }
}

/// One position of a text: its token and the likeliest alternatives.
public struct ScoredToken: Codable, Hashable, Sendable {
    /// The token at this position.
    public var token: Int
    /// Its log-probability, when asked for.
    ///
    /// The first token of a prompt has none.
    package var logprob: Float?
    /// The likeliest tokens here, likeliest first, when asked for.
    public var top: [TokenLogprob] = []

    /// A token at a position.
    public init(token: Int, logprob: Float? = nil, top: [TokenLogprob] = []) {
        self.token = token
        self.logprob = logprob
        self.top = top
    }
}

/// Why a text ended.
public enum FinishReason: String, Codable, Hashable, Sendable {
    /// An end token, a stop string, or a complete constrained document.
    case stop
    /// The limit of new tokens, or of the context.
    case length
    /// The request was withdrawn.
    case cancelled
}

/// What a request cost.
public struct GenerationUsage: Codable, Hashable, Sendable {
    /// Tokens of the prompt.
    public var promptTokens = 0
    /// Of those, tokens whose latents were found in the prefix cache.
    package var cachedTokens = 0
    /// Tokens generated, an end token included.
    public var generatedTokens = 0
    /// Tokens that MTP drafted for verification.
    package var draftedTokens = 0
    /// Drafted tokens that were accepted.
    package var acceptedTokens = 0

    /// Nothing spent.
    public init() {}
}

/// What an engine reports about a request, in order: begun, tokens, then finished or failed.
public enum GenerationEvent: Codable, Hashable, Sendable {
    /// The prompt has been read. Scores are present when the request asked for them.
    case began(promptScores: [ScoredToken])
    /// Tokens of one step, in order.
    case tokens([ScoredToken])
    /// The last event of a request that ended well.
    case finished(FinishReason, GenerationUsage)
    /// The last event of a request that did not.
    case failed(ServingError)

    /// Whether no other event of the request follows.
    var isLast: Bool {
        switch self {
        case .began, .tokens: false
        case .finished, .failed: true
        }
    }
}
