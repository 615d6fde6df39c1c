import Language

/// One finished text of a chat.
struct ChatChoice: Sendable {
    var index: Int
    var content = ""
    var reasoning = ""
    var calls: [AnsweredCall] = []
    /// The tokens with their log-probabilities; nil where nobody asked.
    var scores: [ScoredToken]?
    var finish: FinishReason = .stop
    /// Whether the text ended inside a call.
    var isCut = false
    /// The stop string that ended the text.
    var stopString: String?

    /// Whether the text ended because the model called tools.
    var endsInCalls: Bool { finish == .stop && !isCut && !calls.isEmpty }
}

/// A call of a tool in an answer.
struct AnsweredCall: Hashable, Sendable {
    var id: String
    var name: String
    /// JSON text.
    var arguments: String
}

/// What a chat's answer has cost so far.
struct ChatCost: Sendable {
    /// Tokens of the prompt.
    var promptTokens: Int
    /// Of each text.
    var texts: [GenerationUsage]
    /// Tokens of thoughts, of all texts together.
    var thoughtTokens: Int

    /// Tokens of the prompt that no text had to compute.
    var cachedTokens: Int { min(promptTokens, texts.map(\.cachedTokens).min() ?? 0) }
    /// Tokens that were generated.
    var generatedTokens: Int { texts.reduce(0) { $0 + $1.generatedTokens } }
}
