/// A grammar's states and the ways between them, each found once, when a text first needs it.
///
/// A pattern may keep a thousand stacks alive at every byte, and a walk of the vocabulary asks for
/// thousands of bytes; but bytes of one class lead to one state. So a walk computes as many states
/// as tokens have bytes, not as the vocabulary has. What one text finds serves the schema's others.
///
/// What a walk may use is counted as if it had found everything itself, so that what it leaves out
/// depends on its state alone, never on what other texts found before.
final class GrammarAutomaton {
    /// Names a state until the automaton forgets.
    typealias ID = Int

    /// What one walk of the vocabulary may use.
    ///
    /// Beyond it, longer tokens are left out: that forbids texts, but never admits a wrong one. A
    /// walk that could not even try single bytes fails its request.
    struct WalkLimits: Hashable, Sendable {
        /// Steps of some 10 ns each.
        ///
        /// An open string in a vocabulary of 129,000 tokens takes an eighth of it.
        var steps = 1 << 22
        /// Bytes of the states that the walk comes by.
        var bytes = 32 << 20
    }

    /// What one walk has used.
    struct Walk {
        fileprivate let number: UInt32
        fileprivate let limits: WalkLimits
        fileprivate(set) var steps = 0
        fileprivate(set) var bytes = 0
        /// Steps that were taken, not only counted.
        fileprivate(set) var spent = 0

        /// The limit that was reached, in words.
        var reached: String? {
            if steps >= limits.steps { return "\(limits.steps) steps" }
            if bytes >= limits.bytes { return "\(limits.bytes) bytes of states" }
            return nil
        }

        var isOver: Bool { steps >= limits.steps || bytes >= limits.bytes }
    }

    /// Where a class of bytes leads.
    private struct Way {
        /// A state, `unknown` until it was asked for, or `dead`.
        var target: Int32
        /// Steps that finding it took.
        var steps: Int32 = 0
        /// The last walk that counted them.
        var walk: UInt32 = 0

        static let unknown: Int32 = -1
        static let dead: Int32 = -2
    }

    private struct Node {
        let state: GrammarState
        /// Bytes that complete the text on its shortest way.
        let shortest: Int32
        let byteCount: Int32
        /// The last walk that came by.
        var walk: UInt32 = 0
        /// The class of every byte: bytes of a class are in the same sets.
        let classes: [UInt8]
        /// Per class.
        var ways: [Way]
        var choices: [TokenTrie.Choice]?
        /// Whether it is inside an array whose items must differ.
        let isInUniqueArray: Bool
        /// The state without the stacks inside, `unknown` until it was asked for, or `dead`.
        var outside = Way.unknown
    }

    let grammar: Grammar
    private let limits: WalkLimits
    private var nodes: [Node] = []
    private var ids: [GrammarState: ID] = [:]
    private var walks: UInt32 = 0
    /// Bytes of all that is kept, as allocated.
    private(set) var byteCount = 0

    /// States that are kept.
    var stateCount: Int { nodes.count }

    init(_ grammar: Grammar, limits: WalkLimits = WalkLimits()) {
        self.grammar = grammar
        self.limits = limits
    }

    /// Drops every state, and with them the names given before.
    func forget() {
        nodes = []
        ids = [:]
        byteCount = 0
    }

    func state(_ id: ID) -> GrammarState { nodes[id].state }

    func shortest(_ id: ID) -> Int32 { nodes[id].shortest }

    /// A walk that has used nothing yet.
    func walk() -> Walk {
        walks &+= 1
        return Walk(number: walks, limits: limits)
    }

    /// The state after one more byte, nil if none.
    func next(_ id: ID, byte: UInt8, _ walk: inout Walk) -> ID? {
        let index = Int(nodes[id].classes[Int(byte)])
        walk.steps += 1
        walk.spent += 1
        if nodes[id].ways[index].target == Way.unknown {
            var steps = 0
            let state = nodes[id].state.advanced(by: byte, in: grammar, steps: &steps)
            let target = state.isDead ? Way.dead : Int32(self.id(of: state))
            // Naming a state sorts and hashes its stacks, and parts the bytes.
            steps += state.isDead ? 0 : 256 + state.stackCount * 32 + state.positionCount
            nodes[id].ways[index] = Way(target: target, steps: Int32(clamping: steps))
            walk.spent += steps
        }
        let way = nodes[id].ways[index]
        if way.walk != walk.number {
            nodes[id].ways[index].walk = walk.number
            walk.steps += Int(way.steps)
        }
        guard way.target != Way.dead else { return nil }
        let target = Int(way.target)
        if nodes[target].walk != walk.number {
            nodes[target].walk = walk.number
            walk.bytes += Int(nodes[target].byteCount)
        }
        return target
    }

    /// Whether a state is inside an array whose items must differ.
    func isInUniqueArray(_ id: ID) -> Bool { nodes[id].isInUniqueArray }

    /// The state without what is inside such arrays; nil if nothing is left.
    func outsideUniqueArrays(_ id: ID, _ walk: inout Walk) -> ID? {
        if nodes[id].outside == Way.unknown {
            let state = nodes[id].state.outsideUniqueArrays(grammar)
            let outside = state.isDead ? Way.dead : Int32(self.id(of: state))
            nodes[id].outside = outside
            walk.spent += 256 + nodes[id].state.positionCount
        }
        return nodes[id].outside == Way.dead ? nil : Int(nodes[id].outside)
    }

    /// Which tokens may come next, if they were found before.
    func choices(_ id: ID) -> [TokenTrie.Choice]? { nodes[id].choices }

    /// Keeps which tokens may come next.
    func keep(_ choices: [TokenTrie.Choice], of id: ID) {
        nodes[id].choices = choices
        byteCount += choices.capacity * MemoryLayout<TokenTrie.Choice>.stride
    }

    /// The name of a state.
    func id(of state: GrammarState) -> ID {
        if let id = ids[state] { return id }
        let (classes, count) = Self.classes(of: state, in: grammar)
        let id = nodes.count
        let bytes = Self.byteCount(of: state, classes: count)
        nodes.append(
            Node(
                state: state, shortest: Int32(clamping: state.shortest(in: grammar)),
                byteCount: Int32(clamping: bytes), classes: classes,
                ways: Array(repeating: Way(target: Way.unknown), count: count),
                isInUniqueArray: grammar.hasUniqueArrays && state.isInUniqueArray(grammar)))
        ids[state] = id
        byteCount += bytes
        return id
    }

    /// Bytes that a state takes: its stacks, its classes, and its places in arrays and dictionary,
    /// which may be half empty.
    private static func byteCount(of state: GrammarState, classes: Int) -> Int {
        let headers = 4 * 32
        let places = 2 * (MemoryLayout<Node>.stride + MemoryLayout<GrammarState>.stride + 8)
        return headers + places + 256 + classes * MemoryLayout<Way>.stride
            + (state.positionCount + state.stackCount) * MemoryLayout<Int32>.stride
    }

    /// Parts the bytes by the sets that the stacks wait for.
    private static func classes(
        of state: GrammarState, in grammar: Grammar
    ) -> (classes: [UInt8], count: Int) {
        var sets: Set<ByteSet> = []
        for top in state.tops {
            if case .bytes(let set) = grammar[top] { sets.insert(set) }
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
