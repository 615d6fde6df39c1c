/// The automata of one rank: keeps those of the constraints that were asked for last, so that texts
/// share what they find, and bounds what all of them hold.
public final class GrammarCache {
    /// Bytes of the states and masks of all automata, those that only texts use included; the
    /// mask found last may come on top, with 129,000 tokens up to two megabytes.
    static let byteLimit = 128 << 20

    private struct Weak {
        weak var automaton: GrammarAutomaton?
    }

    private let limits: GrammarAutomaton.WalkLimits
    private let byteLimit: Int
    /// Those that are kept while no text uses them.
    private var held = RecentConstraints<GrammarAutomaton>()
    /// All automata that this cache or a text still uses.
    private var alive: [Weak] = []

    /// A cache that holds nothing yet.
    public convenience init() { self.init(byteLimit: Self.byteLimit) }

    init(
        limits: GrammarAutomaton.WalkLimits = GrammarAutomaton.WalkLimits(),
        byteLimit: Int = GrammarCache.byteLimit
    ) {
        self.limits = limits
        self.byteLimit = byteLimit
    }

    /// Bytes that all automata hold now.
    var byteCount: Int { alive.reduce(0) { $0 + ($1.automaton?.byteCount ?? 0) } }

    /// The automaton of a constraint.
    func automaton(of compiled: CompiledConstraint) -> GrammarAutomaton {
        let constraint = compiled.constraint
        if let known = held.value(of: constraint) { return known }
        let automaton = GrammarAutomaton(compiled.grammar, limits: limits)
        held.keep(automaton, of: constraint)
        alive.removeAll { $0.automaton == nil }
        alive.append(Weak(automaton: automaton))
        return automaton
    }

    /// Makes room for one walk: the automaton that holds most forgets first, and finds its states
    /// and masks anew when they are needed.
    ///
    /// Invalidates the names of all states that were returned earlier.
    func makeRoom() {
        var total = byteCount
        while total > max(0, byteLimit - limits.bytes),
            let largest = alive.compactMap(\.automaton).max(by: { $0.byteCount < $1.byteCount })
        {
            total -= largest.byteCount
            largest.forget()
        }
    }
}
