/// Follows one text through its grammar, and says which token may come next.
///
/// 1. A token is allowed only if the text can still be completed within the tokens that are left,
///    at one byte per token. A byte-level vocabulary has every single byte, so a text that starts
///    completable always ends complete: also at the limit of tokens.
/// 2. No array whose items must differ has two equal ones: what the grammar cannot say of a text is
///    kept beside its state (`UniqueItems`).
public struct ConstrainedText {
    private let automaton: GrammarAutomaton
    private let cache: GrammarCache
    private let vocabulary: ConstraintVocabulary
    /// The parameter of the request that errors name.
    private let parameter: String
    private var state: GrammarState
    /// The array whose items must differ, inside of one.
    private var items: UniqueItems?
    /// Steps that `append` took since the last mask.
    private var owed = 0

    /// - Parameter cache: Where automata are kept, if not for this text alone.
    /// - Throws: `GrammarError.invalid` for fewer tokens than the shortest document has bytes.
    public init(
        _ compiled: CompiledConstraint, vocabulary: ConstraintVocabulary, maxNewTokens: Int,
        cache: GrammarCache = GrammarCache()
    ) throws(GrammarError) {
        self.cache = cache
        automaton = cache.automaton(of: compiled)
        parameter = compiled.constraint.parameter
        let grammar = automaton.grammar
        self.vocabulary = vocabulary
        state = GrammarState(grammar)
        let shortest = grammar.shortest(of: grammar.start)
        guard shortest <= maxNewTokens else {
            throw .invalid(
                "max_tokens is \(maxNewTokens): the shortest text that the request's "
                    + "constraint allows may need \(shortest)", parameter: "max_tokens")
        }
    }

    /// Whether the text is complete and nothing may follow but its end.
    public var isFinal: Bool { state.isFinal }

    /// Whether the text may end here.
    public var isComplete: Bool { state.isComplete }

    /// Which tokens may come next, by id, when `remaining` tokens are left.
    ///
    /// Some may, unless it throws, or the text is complete and the vocabulary has no end.
    ///
    /// - Parameter spent: What finding it took, and coming here, is added, in steps of a walk.
    /// - Throws: `GrammarError.invalid` if that would take more than a walk may use.
    public mutating func mask(remaining: Int, spent: inout Int) throws(GrammarError) -> [Bool] {
        var mask = Array(repeating: false, count: vocabulary.trie.tokenCount)
        var isEmpty = true
        for choice in try choices(&spent) where Int(choice.shortest) <= remaining - 1 {
            mask[Int(choice.token)] = true
            isEmpty = false
        }
        if automaton.grammar.hasUniqueArrays {
            UniqueItemsWalk.narrow(
                &mask, at: automaton.id(of: state), items, remaining: remaining, vocabulary.trie,
                automaton, spent: &spent)
            isEmpty = !mask.contains(true)
        }
        if state.isComplete {
            for token in vocabulary.endTokens where mask.indices.contains(token) {
                mask[token] = true
            }
        } else if isEmpty {
            throw .invalid(
                "no token of the vocabulary continues what the request's constraint "
                    + "allows within the \(remaining) that are left", parameter: parameter)
        }
        return mask
    }

    private mutating func choices(
        _ spent: inout Int
    ) throws(GrammarError) -> [TokenTrie.Choice] {
        spent += owed
        owed = 0
        cache.makeRoom()
        let id = automaton.id(of: state)
        if let choices = automaton.choices(id) { return choices }
        var walk = automaton.walk()
        let choices = vocabulary.trie.choices(from: id, in: automaton, &walk)
        spent += walk.spent
        guard let choices else {
            throw .invalid(
                "the constraint is too expensive: to see which single bytes may come "
                    + "next takes more than \(walk.reached ?? "") (GrammarAutomaton.WalkLimits)",
                parameter: parameter)
        }
        automaton.keep(choices, of: id)
        return choices
    }

    /// Moves past a token that was chosen.
    ///
    /// - Throws: `GrammarError.forbidden` for a token that may not come next; the text stays.
    public mutating func append(_ token: Int) throws(GrammarError) {
        cache.makeRoom()
        var walk = automaton.walk()
        defer { owed += walk.spent }
        let bytes = vocabulary.bytes.indices.contains(token) ? vocabulary.bytes[token] : []
        var end = bytes.isEmpty ? nil : automaton.id(of: state)
        var items = items
        let hasItems = automaton.grammar.hasUniqueArrays
        for byte in bytes {
            guard let state = end else { break }
            end =
                hasItems
                ? UniqueItems.advance(&items, state, byte, in: automaton, &walk)
                : automaton.next(state, byte: byte, &walk)
        }
        guard let end else {
            throw .forbidden(token: token)
        }
        state = automaton.state(end)
        self.items = items
    }
}

/// What constrained decoding needs to know of a tokenizer.
///
/// Made once per model.
public struct ConstraintVocabulary: Sendable {
    let bytes: [[UInt8]]
    let endTokens: [Int]
    let trie: TokenTrie

    /// - Parameters:
    ///   - bytes: The bytes of each token; none for those that no constrained text contains.
    ///   - endTokens: Tokens that end a text.
    ///   - markers: Tokens of a chat format, which a constraint names by their places here
    ///     (`OutputConstraint.marker`); at most `OutputConstraint.markerLimit`.
    public init(bytes: [[UInt8]], endTokens: [Int], markers: [Int] = []) {
        var bytes = bytes
        if !markers.isEmpty {
            // Each marker is one byte that no text holds; tokens of such bytes are no text either.
            let reserved = Set(ByteSet.markers)
            for token in bytes.indices where bytes[token].contains(where: reserved.contains) {
                bytes[token] = []
            }
            for (token, byte) in zip(markers, ByteSet.markers) where bytes.indices.contains(token) {
                bytes[token] = [byte]
            }
        }
        self.bytes = bytes
        self.endTokens = endTokens
        trie = TokenTrie(bytes)
    }

    /// The byte with which a token ends; nil for one that no constrained text contains.
    package func lastByte(of token: Int) -> UInt8? {
        bytes.indices.contains(token) ? bytes[token].last : nil
    }
}
