import TestSupport

@testable import Grammar

extension ConstraintExamples {
    /// The grammar of a schema.
    static func grammar(_ schema: String) throws -> Grammar {
        try ConstraintCompiler.grammar(of: .jsonSchema(schema))
    }

    /// Whether a grammar admits a text.
    static func admits(_ text: String, _ grammar: Grammar) -> Bool {
        var state = GrammarState(grammar)
        for byte in text.utf8 { state = state.advanced(by: byte, in: grammar) }
        return state.isComplete
    }
}

extension ConstrainedText {
    /// Compiles a constraint and follows it.
    init(
        _ constraint: OutputConstraint, vocabulary: ConstraintVocabulary, maxNewTokens: Int,
        cache: GrammarCache = GrammarCache()
    ) throws {
        try self.init(
            CompiledGrammars().compiled(constraint), vocabulary: vocabulary,
            maxNewTokens: maxNewTokens, cache: cache)
    }
}

extension GrammarCache {
    /// Compiles a constraint for its automaton.
    func automaton(of constraint: OutputConstraint) throws -> GrammarAutomaton {
        automaton(of: try CompiledGrammars().compiled(constraint))
    }
}
