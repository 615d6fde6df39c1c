/// A context-free grammar over bytes, flattened so that a parse state is a stack of positions.
///
/// 1. No rule is left-recursive, so expanding a stack ends.
/// 2. Every alternative has a finite shortest sentence, so every state can be completed.
struct Grammar: Sendable {
    /// Names a rule.
    struct Rule: Hashable, Sendable { let index: Int }

    /// What stands at one position of an alternative.
    enum Symbol: Hashable, Sendable {
        case bytes(ByteSet)
        case rule(Rule)
        /// The end of an alternative.
        case end
    }

    /// Why a grammar cannot be used.
    enum Fault: Error, Hashable {
        case tooLarge(limit: Int)
        case tooExpensive(Int, unit: String)
        case neverEnds
        case leftRecursive
    }

    /// The length of what never ends; sums stop there.
    static let never = Int(Int32.max)

    /// Positions a grammar may have: eight megabytes, and three times what 5,000 properties take.
    static let sizeLimit = 1 << 20

    /// Every alternative of every rule, one after another, each closed by an end: a rule's number,
    /// -1 for the end, or -2 less the place among `sets`.
    private var codes: [Int32] = []
    private var sets: [ByteSet] = []
    /// Where the alternatives of all rules begin, and where in this list those of each rule begin.
    private var starts: [Int32] = []
    private var ofRule: [Int32] = []
    /// Bytes of the shortest sentence from each position to its `end`.
    private var shortest: [Int32] = []
    /// Each rule's alternative with the shortest sentence, the first of several.
    private var quickest: [Int32] = []
    let start: Rule
    /// The code of the `]` of arrays whose items must differ; nil without such arrays.
    private let uniqueEnd: Int32?

    /// Flattens the rules of a builder, without the alternatives that never end.
    init(start: Rule, _ builder: GrammarBuilder) throws {
        self.start = start
        sets = builder.sets
        uniqueEnd = builder.uniqueEnd
        let lengths = try GrammarLengths(builder)
        guard lengths.ofRule[start.index] < Self.never else { throw Fault.neverEnds }
        codes.reserveCapacity(builder.codes.count)
        for rule in builder.ruleCount {
            ofRule.append(Int32(starts.count))
            var best = Int32.max
            var bestStart: Int32 = 0
            for alternative in builder.alternatives(of: rule)
            where lengths.ofAlternative[alternative] < Self.never {
                let length = Int32(lengths.ofAlternative[alternative])
                if length < best { (best, bestStart) = (length, Int32(codes.count)) }
                starts.append(Int32(codes.count))
                codes += builder.codes(of: alternative)
            }
            quickest.append(bestStart)
        }
        ofRule.append(Int32(starts.count))
        shortest = Array(repeating: 0, count: codes.count)
        for position in codes.indices.reversed() where codes[position] != -1 {
            let code = codes[position]
            let own = code < 0 ? 1 : lengths.ofRule[Int(code)]
            shortest[position] = Int32(min(Self.never, own + Int(shortest[position + 1])))
        }
        try refuseLeftRecursion(lengths.ofRule)
    }

    /// Positions of all alternatives.
    var positionCount: Int { codes.count }

    /// Whether it has arrays whose items must differ (`UniqueItems`).
    var hasUniqueArrays: Bool { uniqueEnd != nil }

    /// Whether a position is the end of an array whose items must differ; a stack that holds it is
    /// inside.
    func isUniqueEnd(_ position: Int32) -> Bool { codes[Int(position)] == uniqueEnd }

    /// What stands at a position.
    subscript(position: Int) -> Symbol {
        let code = codes[position]
        if code >= 0 { return .rule(Rule(index: Int(code))) }
        return code == -1 ? .end : .bytes(sets[Int(-2 - code)])
    }

    /// Where the alternatives of a rule begin.
    func alternatives(of rule: Rule) -> ArraySlice<Int32> {
        starts[Int(ofRule[rule.index]) ..< Int(ofRule[rule.index + 1])]
    }

    /// Where the alternative of a rule begins that has the shortest sentence.
    func quickest(of rule: Rule) -> Int32 { quickest[rule.index] }

    /// Bytes of the shortest sentence of a rule.
    func shortest(of rule: Rule) -> Int { Int(shortest[Int(quickest[rule.index])]) }

    /// Bytes that complete a stack of positions on its shortest way.
    func shortest(of stack: some Sequence<Int32>) -> Int {
        stack.reduce(0) { min(Self.never, $0 + Int(shortest[Int($1)])) }
    }

    /// Searches for a rule that can reach itself before any byte (1).
    private func refuseLeftRecursion(_ lengths: [Int]) throws {
        enum Mark { case unseen, open, done }
        let count = ofRule.count - 1
        var marks = Array(repeating: Mark.unseen, count: count)
        // Depth-first with an explicit stack: a chain of rules may be as long as the grammar.
        for root in 0 ..< count where marks[root] == .unseen {
            var stack: [(rule: Int, next: [Int])] = [(root, firstRules(of: root, lengths))]
            marks[root] = .open
            while let top = stack.last {
                guard let next = top.next.last else {
                    marks[top.rule] = .done
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].next.removeLast()
                if marks[next] == .open { throw Fault.leftRecursive }
                if marks[next] == .unseen {
                    marks[next] = .open
                    stack.append((next, firstRules(of: next, lengths)))
                }
            }
        }
    }

    /// Rules that may begin a sentence of this rule.
    private func firstRules(of rule: Int, _ lengths: [Int]) -> [Int] {
        var found: [Int] = []
        for start in alternatives(of: Rule(index: rule)) {
            var position = Int(start)
            while codes[position] >= 0 {
                found.append(Int(codes[position]))
                guard lengths[Int(codes[position])] == 0 else { break }
                position += 1
            }
        }
        return found
    }
}
