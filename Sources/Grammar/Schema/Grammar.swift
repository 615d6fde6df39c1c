/// A set of byte values.
struct ByteSet: Hashable, Sendable {
    private var words: SIMD4<UInt64> = .zero

    init() {}
    init(_ ranges: ClosedRange<UInt8>...) {
        for range in ranges { for byte in range { insert(byte) } }
    }
    init(_ characters: String) { for byte in characters.utf8 { insert(byte) } }

    mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
    func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }
}

/// A context-free grammar over bytes, flattened so that a parse state is a stack of positions.
///
/// 1. No rule is left-recursive, so expanding a stack ends.
/// 2. Every rule has a finite shortest sentence, so every state can be completed.
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

    /// Every alternative of every rule, one after another, each closed by `end`.
    private(set) var symbols: [Symbol] = []
    /// Where each rule's alternatives begin.
    private(set) var alternatives: [[Int]] = []
    /// Bytes of the shortest sentence from each position to its `end`.
    private(set) var shortest: [Int] = []
    /// Each rule's alternative with the shortest sentence, the first of several.
    private(set) var quickest: [Int] = []
    let start: Rule

    /// Why a grammar cannot be used.
    enum Fault: Error, Hashable {
        case tooLarge(limit: Int)
        case neverEnds
        case leftRecursive
    }

    /// The length of what never ends; the sum of two still fits.
    static let never = Int.max / 4

    /// Positions a grammar may have: two megabytes, and more than any schema in use needs.
    static let sizeLimit = 40_000

    init(start: Rule, rules: [[[Symbol]]]) throws(Fault) {
        self.start = start
        for rule in rules {
            var starts: [Int] = []
            for alternative in rule {
                starts.append(symbols.count)
                symbols += alternative + [.end]
                guard symbols.count <= Self.sizeLimit else {
                    throw .tooLarge(limit: Self.sizeLimit)
                }
            }
            alternatives.append(starts)
        }
        try measure()
        try refuseLeftRecursion()
    }

    /// Bytes of the shortest sentence of a rule.
    func shortest(of rule: Rule) -> Int { alternatives[rule.index].map { shortest[$0] }.min() ?? 0 }

    /// Bytes that complete a stack of positions on its shortest way.
    func shortest(of stack: some Sequence<Int32>) -> Int {
        stack.reduce(0) { min(Self.never, $0 + shortest[Int($1)]) }
    }

    /// Finds shortest sentences by relaxation until nothing improves (2).
    private mutating func measure() throws(Fault) {
        let unknown = Self.never
        var rules = Array(repeating: unknown, count: alternatives.count)
        shortest = Array(repeating: unknown, count: symbols.count)
        var changed = true
        while changed {
            changed = false
            for position in symbols.indices.reversed() {
                let length: Int
                switch symbols[position] {
                case .end: length = 0
                case .bytes: length = min(unknown, 1 + shortest[position + 1])
                case .rule(let rule):
                    length = min(unknown, rules[rule.index] + shortest[position + 1])
                }
                if length < shortest[position] {
                    shortest[position] = length
                    changed = true
                }
            }
            for (rule, starts) in alternatives.enumerated() {
                let length = starts.map { shortest[$0] }.min() ?? unknown
                if length < rules[rule] {
                    rules[rule] = length
                    changed = true
                }
            }
        }
        guard rules[start.index] < unknown else { throw .neverEnds }
        quickest = alternatives.map { starts in
            starts.min { shortest[$0] < shortest[$1] } ?? 0
        }
    }

    /// Searches for a rule that can reach itself before any byte (1).
    private func refuseLeftRecursion() throws(Fault) {
        enum Mark { case unseen, open, done }
        var marks = Array(repeating: Mark.unseen, count: alternatives.count)
        // Depth-first with an explicit stack: a chain of rules may be as long as the grammar.
        for root in alternatives.indices where marks[root] == .unseen {
            var stack: [(rule: Int, next: [Int])] = [(root, firstRules(of: root))]
            marks[root] = .open
            while let top = stack.last {
                guard let next = top.next.last else {
                    marks[top.rule] = .done
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].next.removeLast()
                if marks[next] == .open { throw .leftRecursive }
                if marks[next] == .unseen {
                    marks[next] = .open
                    stack.append((next, firstRules(of: next)))
                }
            }
        }
    }

    /// Rules that may begin a sentence of this rule.
    private func firstRules(of rule: Int) -> [Int] {
        var found: [Int] = []
        for start in alternatives[rule] {
            var position = start
            while case .rule(let next) = symbols[position] {
                found.append(next.index)
                guard shortest(of: next) == 0 else { break }
                position += 1
            }
        }
        return found
    }
}
