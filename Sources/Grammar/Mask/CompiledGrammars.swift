import Synchronization

/// The grammars that were compiled last, shared by everybody in a process who needs them: the HTTP
/// API, which refuses what cannot be compiled, and the ranks, which follow it.
public final class CompiledGrammars: Sendable {
    /// Grammars that are kept: as many as a rank keeps automata.
    private static let limit = GrammarCache.limit

    private struct Entry {
        var constraint: OutputConstraint
        var grammar: Grammar
    }

    /// Latest last.
    private let entries = Mutex<[Entry]>([])
    private let compilations = Mutex(0)

    /// Nothing compiled.
    public init() {}

    /// How often a grammar was compiled because it was not here.
    package var compilationCount: Int { compilations.withLock { $0 } }

    /// Checks that a constraint can be used.
    ///
    /// - Throws: `GrammarError.invalid` for a schema that cannot.
    public func check(_ constraint: OutputConstraint) throws(GrammarError) {
        _ = try grammar(of: constraint)
    }

    /// The grammar of a constraint.
    ///
    /// - Throws: `GrammarError.invalid` for a schema that cannot be used.
    func grammar(of constraint: OutputConstraint) throws(GrammarError) -> Grammar {
        let known = entries.withLock { entries -> Grammar? in
            guard let place = entries.firstIndex(where: { $0.constraint == constraint }) else {
                return nil
            }
            entries.append(entries.remove(at: place))
            return entries[entries.count - 1].grammar
        }
        if let known { return known }
        // Outside the lock: a large schema takes long, and others need theirs meanwhile.
        let grammar = try ConstrainedText.compile(constraint)
        compilations.withLock { $0 += 1 }
        entries.withLock { entries in
            entries.removeAll { $0.constraint == constraint }
            if entries.count == Self.limit { entries.removeFirst() }
            entries.append(Entry(constraint: constraint, grammar: grammar))
        }
        return grammar
    }
}
