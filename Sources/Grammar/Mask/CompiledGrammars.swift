import Dispatch
import Synchronization

/// A constraint with its grammar.
public struct CompiledConstraint: Sendable {
    /// What was compiled.
    let constraint: OutputConstraint
    let grammar: Grammar
}

/// The grammars that were compiled last, shared by everybody in a process who needs them: the HTTP
/// API, which refuses what cannot be compiled, and the ranks, which follow it.
///
/// Constraints are compiled one after another on threads of their own, never on one that writes
/// streams or computes steps. Short ones do not wait for long ones.
public final class CompiledGrammars: Sendable {
    /// Bytes of text from which a constraint waits among the long ones.
    private static let longBytes = 16 << 10

    /// Verdicts that are remembered.
    private static let verdictLimit = 1 << 14

    private let recent = Mutex(RecentConstraints<CompiledConstraint>())
    /// Whether constraints could be compiled, by their hashes.
    private let verdicts = Mutex<[Int: Bool]>([:])
    private let compilations = Mutex(0)
    private let short = DispatchQueue(label: "apus.grammars", qos: .utility)
    private let long = DispatchQueue(label: "apus.grammars.long", qos: .utility)

    /// Nothing compiled.
    public init() {}

    /// How often a grammar was compiled because it was not here.
    package var compilationCount: Int { compilations.withLock { $0 } }

    /// Whether a constraint can be used, which is found out once, on a thread of its own.
    ///
    /// - Parameter isFollowed: Whether the constraint itself will be followed, so that its grammar
    ///   is kept, and not only a larger one that has it as a part.
    public func accepts(_ constraint: OutputConstraint, isFollowed: Bool) async -> Bool {
        let hash = constraint.hashValue
        if let verdict = verdicts.withLock({ $0[hash] }) { return verdict }
        let verdict = await withCheckedContinuation { continuation in
            queue(of: constraint).async {
                do throws(GrammarError) {
                    if isFollowed {
                        _ = try self.compiled(constraint)
                    } else {
                        _ = try ConstraintCompiler.grammar(of: constraint)
                    }
                    continuation.resume(returning: true)
                } catch { continuation.resume(returning: false) }
            }
        }
        verdicts.withLock { verdicts in
            if verdicts.count == Self.verdictLimit { verdicts.removeAll() }
            verdicts[hash] = verdict
        }
        return verdict
    }

    private func queue(of constraint: OutputConstraint) -> DispatchQueue {
        constraint.textBytes < Self.longBytes ? short : long
    }

    /// Has a constraint compiled on a thread of its own, and waits for it.
    ///
    /// - Throws: `GrammarError.invalid` for one that cannot be used.
    public func prepare(_ constraint: OutputConstraint) async throws(GrammarError) {
        if known(constraint) != nil { return }
        let error: GrammarError? = await withCheckedContinuation { continuation in
            compile(constraint) { result in
                if case .failure(let error) = result {
                    continuation.resume(returning: error)
                } else {
                    continuation.resume(returning: nil)
                }
            }
        }
        if let error { throw error }
    }

    /// Compiles a constraint, unless it was compiled lately, and hands it on from a thread of its
    /// own.
    public func compile(
        _ constraint: OutputConstraint,
        then: @escaping @Sendable (Result<CompiledConstraint, GrammarError>) -> Void
    ) {
        queue(of: constraint).async {
            do throws(GrammarError) {
                then(.success(try self.compiled(constraint)))
            } catch { then(.failure(error)) }
        }
    }

    /// The grammar of a constraint, compiled here and now unless it was lately.
    ///
    /// - Throws: `GrammarError.invalid` for one that cannot be used.
    public func compiled(
        _ constraint: OutputConstraint
    ) throws(GrammarError) -> CompiledConstraint {
        if let known = known(constraint) { return known }
        // Outside the lock: a large schema takes long, and others need theirs meanwhile.
        let made = CompiledConstraint(
            constraint: constraint, grammar: try ConstraintCompiler.grammar(of: constraint))
        compilations.withLock { $0 += 1 }
        recent.withLock { $0.keep(made, of: constraint) }
        return made
    }

    private func known(_ constraint: OutputConstraint) -> CompiledConstraint? {
        recent.withLock { $0.value(of: constraint) }
    }
}
