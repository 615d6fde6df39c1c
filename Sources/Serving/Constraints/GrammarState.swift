/// Where a text stands in a grammar: every stack of positions that its bytes may have led to.
struct GrammarState: Hashable, Sendable {
    /// Innermost position last.
    ///
    /// Every stack but the empty one ends at a set of bytes; the empty one means the text is
    /// complete.
    private(set) var stacks: Set<[Int32]>

    /// Stacks that may be alive at once.
    ///
    /// A schema's alternatives stay apart for a few bytes only; beyond this, later alternatives
    /// are dropped, which forbids texts but never admits a wrong one.
    static let stackLimit = 1024

    /// Ways that are followed before those met twice are left out, which costs a hash each.
    private static let freeSteps = 64

    /// Nesting beyond which only bytes that lead to the end are allowed.
    static let depthLimit = 128

    init(_ grammar: Grammar) {
        stacks = []
        var ways = Ways()
        for start in grammar.alternatives[grammar.start.index] {
            expand([Int32(start)], grammar, &ways)
        }
    }

    private init() { stacks = [] }

    /// Whether no text can follow any more: the bytes were not a prefix of any sentence.
    var isDead: Bool { stacks.isEmpty }

    /// Whether the text so far is a whole sentence.
    var isComplete: Bool { stacks.contains([]) }

    /// Whether the text is whole and nothing may be added.
    var isFinal: Bool { stacks.count == 1 && isComplete }

    /// The state after one more byte.
    func advanced(by byte: UInt8, in grammar: Grammar) -> GrammarState {
        var steps = 0
        return advanced(by: byte, in: grammar, steps: &steps)
    }

    /// The same; what it took is added to `steps`.
    func advanced(by byte: UInt8, in grammar: Grammar, steps: inout Int) -> GrammarState {
        var next = GrammarState()
        var ways = Ways()
        defer { steps += ways.steps + stacks.count }
        for stack in stacks {
            guard let top = stack.last, case .bytes(let set) = grammar.symbols[Int(top)],
                set.contains(byte)
            else { continue }
            var moved = stack
            moved[moved.count - 1] = top + 1
            next.expand(moved, grammar, &ways)
        }
        if isDeep { return next.shortest(in: grammar) < shortest(in: grammar) ? next : .init() }
        return next
    }

    /// Bytes that complete the text on its shortest way.
    func shortest(in grammar: Grammar) -> Int {
        stacks.map { stack in
            stack.reduce(0) { min(Grammar.never, $0 + grammar.shortest[Int($1)]) }
        }.min() ?? Grammar.never
    }

    private var isDeep: Bool { (stacks.map(\.count).min() ?? 0) > Self.depthLimit }

    /// What was followed so far: stacks that move by one byte often meet again.
    private struct Ways {
        var steps = 0
        var seen: Set<[Int32]> = []
    }

    /// Replaces rules at the top of a stack by their alternatives until bytes are there.
    ///
    /// Rules that share rules lead to one stack by more ways than could ever be counted, so each
    /// stack is followed once.
    private mutating func expand(_ first: [Int32], _ grammar: Grammar, _ ways: inout Ways) {
        var open = [first]
        while var stack = open.popLast() {
            guard stacks.count < Self.stackLimit else { return }
            ways.steps += 1
            if ways.steps > Self.freeSteps, !ways.seen.insert(stack).inserted { continue }
            guard let top = stack.last else {
                stacks.insert(stack)
                continue
            }
            switch grammar.symbols[Int(top)] {
            case .bytes: stacks.insert(stack)
            case .end:
                stack.removeLast()
                open.append(stack)
            case .rule(let rule):
                // A rule at the end of its alternative is replaced, not stacked upon, so that
                // repetition written as right recursion keeps the stack flat.
                if case .end = grammar.symbols[Int(top) + 1] {
                    stack.removeLast()
                } else {
                    stack[stack.count - 1] = top + 1
                }
                for start in grammar.alternatives[rule.index].reversed() {
                    open.append(stack + [Int32(start)])
                }
            }
        }
    }
}
