import Grammar

/// Waits for the token that begins a constraint.
struct TriggeredText {
    private let trigger: ConstraintTrigger
    private let compiled: CompiledConstraint
    private let vocabulary: ConstraintVocabulary
    private let cache: GrammarCache
    private var isInThought: Bool
    private var isAtStart = true

    init(
        _ trigger: ConstraintTrigger, _ compiled: CompiledConstraint,
        vocabulary: ConstraintVocabulary, cache: GrammarCache
    ) {
        self.trigger = trigger
        self.compiled = compiled
        self.vocabulary = vocabulary
        self.cache = cache
        isInThought = trigger.isInside
    }

    /// Takes a token of the text.
    ///
    /// - Returns: What the text follows from here on, where the token begins that.
    mutating func append(_ token: Int) throws(GrammarError) -> ConstrainedText? {
        defer { isAtStart = isAtStart && token == trigger.line }
        if isAtStart, token == trigger.thoughtBegin { isInThought = true }
        if isInThought {
            if token == trigger.thoughtEnd { isInThought = false }
            return nil
        }
        guard token == trigger.token else { return nil }
        return try ConstrainedText(
            compiled, vocabulary: vocabulary, maxNewTokens: .max, cache: cache)
    }
}
