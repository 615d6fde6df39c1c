import Grammar

/// Waits for the token that begins a constraint.
struct TriggeredText {
    private let trigger: ConstraintTrigger
    private let compiled: CompiledConstraint
    private let vocabulary: ConstraintVocabulary
    private let cache: GrammarCache
    private var isInThought: Bool
    private var isAtStart = true
    /// The token before the next one.
    private var previous: Int?

    /// - Parameter previous: The prompt's last token.
    init(
        _ trigger: ConstraintTrigger, _ compiled: CompiledConstraint, after previous: Int?,
        vocabulary: ConstraintVocabulary, cache: GrammarCache
    ) {
        self.trigger = trigger
        self.compiled = compiled
        self.vocabulary = vocabulary
        self.cache = cache
        self.previous = previous
        isInThought = trigger.isInside
    }

    /// What a text follows that begins inside the constraint, after these tokens of the prompt.
    static func begun(
        _ tokens: [Int], _ compiled: CompiledConstraint, vocabulary: ConstraintVocabulary,
        cache: GrammarCache
    ) throws(GrammarError) -> ConstrainedText {
        var text = try ConstrainedText(
            compiled, vocabulary: vocabulary, maxNewTokens: .max, cache: cache)
        for token in tokens { try text.append(token) }
        return text
    }

    /// Takes a token that the constraint allowed.
    mutating func pass(_ token: Int) { previous = token }

    /// Takes a token of the free text.
    ///
    /// - Returns: What the text follows from here on, where the token begins that.
    mutating func append(_ token: Int) throws(GrammarError) -> ConstrainedText? {
        defer {
            isAtStart = isAtStart && trigger.lines.contains(token)
            previous = token
        }
        if isAtStart, token == trigger.thoughtBegin { isInThought = true }
        if isInThought {
            if token == trigger.thoughtEnd { isInThought = false }
            return nil
        }
        guard token == trigger.token, isPreceded else { return nil }
        return try ConstrainedText(
            compiled, vocabulary: vocabulary, maxNewTokens: .max, cache: cache)
    }

    /// Whether the text before the next token ends as the trigger asks.
    private var isPreceded: Bool {
        guard let after = trigger.after else { return true }
        return previous.flatMap { vocabulary.lastByte(of: $0) } == after
    }
}
