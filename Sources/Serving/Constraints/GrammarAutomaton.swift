/// A grammar's states and the ways between them, each found once, when a text first needs it.
///
/// A pattern may keep a thousand stacks alive at every byte, and a walk of the vocabulary asks for
/// thousands of bytes; but bytes of one class lead to one state. So a walk computes as many states
/// as tokens have bytes, not as the vocabulary has. What one text finds serves the schema's others.
final class GrammarAutomaton {
    /// Names a state until the automaton forgets.
    typealias ID = Int

    private struct Node {
        let state: GrammarState
        /// Bytes that complete the text on its shortest way.
        let shortest: Int32
        /// The class of every byte: bytes of a class are in the same sets.
        let classes: [UInt8]
        /// Per class, the state it leads to; `unknown` until it was asked for.
        var next: [Int32]
        var choices: [TokenTrie.Choice]?
    }

    let grammar: Grammar
    private var nodes: [Node] = []
    private var ids: [GrammarState: ID] = [:]
    private var stackCount = 0
    private var choiceCount = 0

    private static let unknown: Int32 = -1
    private static let dead: Int32 = -2

    /// Stacks of all states together: some 20 MB; beyond it everything is found anew.
    static let stackLimit = 200_000
    /// States that remember which tokens they allow, each of which may be the whole vocabulary.
    private static let choiceLimit = 32

    init(_ grammar: Grammar) { self.grammar = grammar }

    /// The name of a state.
    ///
    /// May forget all names given before.
    func id(of state: GrammarState) -> ID {
        if stackCount > Self.stackLimit {
            nodes = []
            ids = [:]
            (stackCount, choiceCount) = (0, 0)
        }
        return intern(state)
    }

    func state(_ id: ID) -> GrammarState { nodes[id].state }

    func shortest(_ id: ID) -> Int32 { nodes[id].shortest }

    /// The state after one more byte, nil if none; what finding it took is added to `steps`.
    func next(_ id: ID, byte: UInt8, steps: inout Int) -> ID? {
        let index = Int(nodes[id].classes[Int(byte)])
        steps += 1
        var next = nodes[id].next[index]
        if next == Self.unknown {
            let state = nodes[id].state.advanced(by: byte, in: grammar, steps: &steps)
            next = state.isDead ? Self.dead : Int32(intern(state))
            nodes[id].next[index] = next
        }
        return next == Self.dead ? nil : Int(next)
    }

    /// Which tokens may come next, found by `walk` once.
    func choices(_ id: ID, walk: () -> [TokenTrie.Choice]) -> [TokenTrie.Choice] {
        if let choices = nodes[id].choices { return choices }
        let choices = walk()
        if choiceCount >= Self.choiceLimit {
            for index in nodes.indices { nodes[index].choices = nil }
            choiceCount = 0
        }
        nodes[id].choices = choices
        choiceCount += 1
        return choices
    }

    private func intern(_ state: GrammarState) -> ID {
        if let id = ids[state] { return id }
        let (classes, count) = Self.classes(of: state, in: grammar)
        let id = nodes.count
        nodes.append(
            Node(
                state: state, shortest: Int32(clamping: state.shortest(in: grammar)),
                classes: classes, next: Array(repeating: Self.unknown, count: count)))
        ids[state] = id
        stackCount += state.stacks.count
        return id
    }

    /// Parts the bytes by the sets that the stacks wait for.
    private static func classes(
        of state: GrammarState, in grammar: Grammar
    ) -> (classes: [UInt8], count: Int) {
        var sets: Set<ByteSet> = []
        for stack in state.stacks {
            if let top = stack.last, case .bytes(let set) = grammar.symbols[Int(top)] {
                sets.insert(set)
            }
        }
        var classes = [UInt8](repeating: 0, count: 256)
        var count = 1
        for set in sets where count < 256 {
            // A class whose bytes are not all in the set, or all out of it, becomes two.
            var inner = [Int](repeating: -1, count: count)
            var hasOuter = [Bool](repeating: false, count: count)
            for byte in 0 ..< 256 where !set.contains(UInt8(byte)) {
                hasOuter[Int(classes[byte])] = true
            }
            for byte in 0 ..< 256 where set.contains(UInt8(byte)) {
                let old = Int(classes[byte])
                guard hasOuter[old] else { continue }
                if inner[old] < 0 {
                    inner[old] = count
                    count += 1
                }
                classes[byte] = UInt8(inner[old])
            }
        }
        return (classes, count)
    }
}

/// The automata of the schemas that were asked for last, so that a schema is compiled once, however
/// many texts it constrains.
final class GrammarShelf {
    /// An automaton may hold 20 MB of states, and tokens by the vocabulary.
    static let limit = 4

    /// Latest last.
    private var held: [(constraint: OutputConstraint, automaton: GrammarAutomaton)] = []

    /// The automaton of a constraint.
    ///
    /// - Throws: `ServingError.invalidRequest` for a schema that cannot be used.
    func automaton(of constraint: OutputConstraint) throws(ServingError) -> GrammarAutomaton {
        if let place = held.firstIndex(where: { $0.constraint == constraint }) {
            held.append(held.remove(at: place))
        } else {
            let automaton = GrammarAutomaton(try ConstrainedText.compile(constraint))
            if held.count == Self.limit { held.removeFirst() }
            held.append((constraint, automaton))
        }
        return held[held.count - 1].automaton
    }
}
