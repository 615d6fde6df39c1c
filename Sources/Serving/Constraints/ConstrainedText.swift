/// Follows one text through its grammar, and says which token may come next.
///
/// 1. A token is allowed only if the text can still be completed within the tokens that are left,
///    at one byte per token. A byte-level vocabulary has every single byte, so a text that starts
///    completable always ends complete: also at the limit of tokens.
struct ConstrainedText {
    private let automaton: GrammarAutomaton
    private let vocabulary: ConstraintVocabulary
    private var state: GrammarState

    /// - Parameter shelf: Where automata of schemas are kept, if not for this text alone.
    /// - Throws: `ServingError.invalidRequest` for a schema that cannot be used, or for fewer
    ///   tokens than the shortest document has bytes.
    init(
        _ constraint: OutputConstraint, vocabulary: ConstraintVocabulary, maxNewTokens: Int,
        shelf: GrammarShelf = GrammarShelf()
    ) throws(ServingError) {
        automaton = try shelf.automaton(of: constraint)
        let grammar = automaton.grammar
        self.vocabulary = vocabulary
        state = GrammarState(grammar)
        let shortest = grammar.shortest(of: grammar.start)
        guard shortest <= maxNewTokens else {
            throw .invalidRequest(
                message: "max_tokens is \(maxNewTokens): the shortest document that the response "
                    + "format allows may need \(shortest)", parameter: "max_tokens")
        }
    }

    /// The grammar of a constraint.
    static func compile(_ constraint: OutputConstraint) throws(ServingError) -> Grammar {
        do {
            switch constraint {
            case .jsonObject: return try SchemaCompiler.anyObject()
            case .jsonSchema(let text): return try SchemaCompiler.compile(text)
            case .choice(let texts): return try SchemaCompiler.choice(texts)
            }
        } catch {
            throw .invalidRequest(message: "\(error)", parameter: "response_format")
        }
    }

    /// Whether the text is complete and nothing may follow but its end.
    var isFinal: Bool { state.isFinal }

    /// Whether the text may end here.
    var isComplete: Bool { state.isComplete }

    /// Whether a token may come next when `remaining` tokens, it included, are left.
    func allows(_ token: Int, remaining: Int) -> Bool {
        if vocabulary.endTokens.contains(token) { return state.isComplete }
        guard vocabulary.bytes.indices.contains(token), !vocabulary.bytes[token].isEmpty else {
            return false
        }
        guard let next = end(of: token) else { return false }
        return Int(automaton.shortest(next)) <= remaining - 1
    }

    /// Which tokens may come next, by id, when `remaining` tokens are left.
    func mask(remaining: Int) -> [Bool] {
        var mask = Array(repeating: false, count: vocabulary.trie.tokenCount)
        for choice in choices() where Int(choice.shortest) <= remaining - 1 {
            mask[Int(choice.token)] = true
        }
        if state.isComplete {
            for token in vocabulary.endTokens where mask.indices.contains(token) {
                mask[token] = true
            }
        }
        return mask
    }

    private func choices() -> [TokenTrie.Choice] {
        let id = automaton.id(of: state)
        return automaton.choices(id) { vocabulary.trie.choices(from: id, in: automaton) }
    }

    /// Where a token leads, nil if nowhere.
    private func end(of token: Int) -> GrammarAutomaton.ID? {
        var steps = 0
        var id = automaton.id(of: state)
        for byte in vocabulary.bytes[token] {
            guard let next = automaton.next(id, byte: byte, steps: &steps) else { return nil }
            id = next
        }
        return id
    }

    /// Moves past a token that was chosen.
    mutating func append(_ token: Int) {
        guard let end = end(of: token) else {
            preconditionFailure("token \(token) was appended, which the grammar does not allow")
        }
        state = automaton.state(end)
    }
}

/// What constrained decoding needs to know of a tokenizer.
///
/// Made once per model.
struct ConstraintVocabulary: Sendable {
    let bytes: [[UInt8]]
    let endTokens: [Int]
    let trie: TokenTrie

    init(bytes: [[UInt8]], endTokens: [Int]) {
        self.bytes = bytes
        self.endTokens = endTokens
        trie = TokenTrie(bytes)
    }
}
