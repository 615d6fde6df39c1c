/// Where a text stands in a grammar: every stack of positions that its bytes may have led to.
///
/// 1. Whatever the limits drop, a state that `n` bytes can complete has a byte that leads to one
///    that `n - 1` can: the shortest way is followed first. So no text is ever stuck.
/// 2. The next state depends on this one, the byte and the grammar alone, also in what is dropped.
struct GrammarState: Hashable, Sendable {
    /// All stacks one after another, each with its innermost position last.
    ///
    /// Every stack but the empty one ends at a set of bytes; the empty one means the text is
    /// complete. They are in descending order, so the empty one is the last. Of a repetition's
    /// places the first come first: what is dropped is what skips most of it.
    private var positions: [Int32] = []
    /// Where in `positions` each stack ends.
    private var ends: [Int32] = []

    /// Stacks that may be alive at once.
    ///
    /// A schema's alternatives stay apart for a few bytes only; beyond this, later alternatives
    /// are dropped, which forbids texts but never admits a wrong one.
    static let stackLimit = 1024

    /// Steps that the ways of one byte may take, three times what a thousand stacks in use take.
    ///
    /// Beyond this, ways are dropped as beyond `stackLimit`.
    static let stepLimit = 1 << 18

    /// Nesting beyond which only bytes that lead to the end are allowed.
    static let depthLimit = 128

    init(_ grammar: Grammar) {
        let starts = grammar.alternatives(of: grammar.start).map { [$0] }
        var ways = Ways(grammar)
        ways.followShortest([grammar.quickest(of: grammar.start)])
        for start in starts { ways.follow(start) }
        self.init(ways)
    }

    private init(_ ways: Ways) {
        let stacks = ways.found.sorted { $1.lexicographicallyPrecedes($0) }
        positions.reserveCapacity(stacks.reduce(0) { $0 + $1.count })
        ends.reserveCapacity(stacks.count)
        for stack in stacks {
            positions += stack
            ends.append(Int32(positions.count))
        }
    }

    private init() {}

    /// How many stacks there are.
    var stackCount: Int { ends.count }

    /// Positions in all stacks.
    var positionCount: Int { positions.count }

    private func stack(_ index: Int) -> ArraySlice<Int32> {
        positions[(index == 0 ? 0 : Int(ends[index - 1])) ..< Int(ends[index])]
    }

    /// The innermost position of each stack but the empty one.
    var tops: some Sequence<Int> {
        ends.indices.lazy.compactMap { stack($0).last.map { Int($0) } }
    }

    /// Whether no text can follow any more: the bytes were not a prefix of any sentence.
    var isDead: Bool { ends.isEmpty }

    /// Whether the text so far is a whole sentence.
    var isComplete: Bool { !isDead && stack(ends.count - 1).isEmpty }

    /// Whether the text is whole and nothing may be added.
    var isFinal: Bool { ends.count == 1 && positions.isEmpty }

    /// Whether some stack is inside an array whose items must differ.
    func isInUniqueArray(_ grammar: Grammar) -> Bool {
        positions.contains { grammar.isUniqueEnd($0) }
    }

    /// The state without the stacks inside arrays whose items must differ.
    func outsideUniqueArrays(_ grammar: Grammar) -> GrammarState {
        var outside = GrammarState()
        for index in ends.indices {
            let stack = stack(index)
            if stack.contains(where: { grammar.isUniqueEnd($0) }) { continue }
            outside.positions += stack
            outside.ends.append(Int32(outside.positions.count))
        }
        return outside
    }

    /// The state after one more byte.
    func advanced(by byte: UInt8, in grammar: Grammar) -> GrammarState {
        var steps = 0
        return advanced(by: byte, in: grammar, steps: &steps)
    }

    /// The same; what it took is added to `steps`.
    func advanced(by byte: UInt8, in grammar: Grammar, steps: inout Int) -> GrammarState {
        var ways = Ways(grammar)
        defer { steps += ways.steps + ends.count }
        var moved: [[Int32]] = []
        for index in ends.indices {
            var stack = stack(index)
            guard let top = stack.popLast(), case .bytes(let set) = grammar[Int(top)],
                set.contains(byte)
            else { continue }
            moved.append(stack + [top + 1])
        }
        guard let first = moved.min(by: { grammar.shortest(of: $0) < grammar.shortest(of: $1) })
        else { return GrammarState() }
        ways.followShortest(first)
        for stack in moved { ways.follow(stack) }
        let next = GrammarState(ways)
        if isDeep { return next.shortest(in: grammar) < shortest(in: grammar) ? next : .init() }
        return next
    }

    /// Bytes that complete the text on its shortest way.
    func shortest(in grammar: Grammar) -> Int {
        ends.indices.map { grammar.shortest(of: stack($0)) }.min() ?? Grammar.never
    }

    private var isDeep: Bool {
        (ends.indices.lazy.map { stack($0).count }.min() ?? 0) > Self.depthLimit
    }

    /// What was followed so far, and the stacks at which it stopped.
    ///
    /// Rules that share rules lead to one stack by more ways than could ever be counted, so each
    /// stack is followed once.
    private struct Ways {
        let grammar: Grammar
        var steps = 0
        var found: Set<[Int32]> = []
        private var seen: Set<[Int32]> = []

        init(_ grammar: Grammar) { self.grammar = grammar }

        private var isAtLimit: Bool {
            found.count >= GrammarState.stackLimit || steps >= GrammarState.stepLimit
        }

        /// What following a stack takes beside a step of a walk: a copy and a hash.
        private mutating func count(_ stack: [Int32]) { steps += 16 + stack.count / 8 }

        /// Follows of every rule the alternative that ends soonest (invariant 1).
        mutating func followShortest(_ first: [Int32]) {
            var stack = first
            while let top = stack.last {
                count(stack)
                switch grammar[Int(top)] {
                case .bytes:
                    found.insert(stack)
                    return
                case .end: stack.removeLast()
                case .rule(let rule):
                    leave(&stack)
                    stack.append(grammar.quickest(of: rule))
                }
            }
            found.insert(stack)
        }

        /// Replaces rules at the top of a stack by their alternatives until bytes are there, the
        /// fewest replacements first.
        mutating func follow(_ first: [Int32]) {
            var open = [first]
            var place = 0
            while place < open.count, !isAtLimit {
                var stack = open[place]
                place += 1
                count(stack)
                guard seen.insert(stack).inserted else { continue }
                guard let top = stack.last else {
                    found.insert(stack)
                    continue
                }
                switch grammar[Int(top)] {
                case .bytes: found.insert(stack)
                case .end:
                    stack.removeLast()
                    open.append(stack)
                case .rule(let rule):
                    leave(&stack)
                    for start in grammar.alternatives(of: rule) {
                        open.append(stack + [start])
                    }
                }
            }
        }

        /// Moves past the rule at the top.
        ///
        /// A rule at the end of its alternative is replaced, not stacked upon, so that repetition
        /// written as right recursion keeps the stack flat.
        private func leave(_ stack: inout [Int32]) {
            let top = stack[stack.count - 1]
            if case .end = grammar[Int(top) + 1] {
                stack.removeLast()
            } else {
                stack[stack.count - 1] = top + 1
            }
        }
    }
}
