/// Follows one text through its grammar, and says which token may come next.
///
/// 1. A token is allowed only if the text can still be completed within the tokens that are left,
///    at one byte per token. A byte-level vocabulary has every single byte, so a text that starts
///    completable always ends complete: also at the limit of tokens.
struct ConstrainedText {
    private let grammar: Grammar
    private let vocabulary: ConstraintVocabulary
    private var state: GrammarState
    /// What states met before allow: inside a string every character leads back to one state.
    private var known: [GrammarState: [TokenTrie.Choice]] = [:]
    /// Each entry may hold the whole vocabulary.
    private static let knownLimit = 32

    /// - Throws: `ServingError.invalidRequest` for a schema that cannot be used, or for fewer
    ///   tokens than the shortest document has bytes.
    init(
        _ constraint: OutputConstraint, vocabulary: ConstraintVocabulary, maxNewTokens: Int
    ) throws(ServingError) {
        grammar = try Self.compile(constraint)
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
        var next = state
        for byte in vocabulary.bytes[token] {
            next = next.advanced(by: byte, in: grammar)
            if next.isDead { return false }
        }
        return next.shortest(in: grammar) <= remaining - 1
    }

    /// Which tokens may come next, by id, when `remaining` tokens are left.
    mutating func mask(remaining: Int) -> [Bool] {
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

    private mutating func choices() -> [TokenTrie.Choice] {
        if let choices = known[state] { return choices }
        let choices = vocabulary.trie.choices(from: state, in: grammar)
        if known.count >= Self.knownLimit { known = [:] }
        known[state] = choices
        return choices
    }

    /// Moves past a token that was chosen.
    mutating func append(_ token: Int) {
        for byte in vocabulary.bytes[token] { state = state.advanced(by: byte, in: grammar) }
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
