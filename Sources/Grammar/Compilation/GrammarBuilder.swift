/// Collects the rules of one constraint, flat, and counts what they take.
struct GrammarBuilder {
    typealias Symbol = Grammar.Symbol
    typealias Rule = Grammar.Rule

    let budget: CompilationBudget
    /// As in `Grammar`.
    private(set) var codes: [Int32] = []
    private(set) var sets: [ByteSet] = []
    private var setPlaces: [ByteSet: Int32] = [:]
    /// Where each alternative begins; it ends where the next begins.
    private var starts: [Int32] = []
    /// The alternatives of each rule.
    private var ofRule: [Range<Int32>] = []
    private var named: [String: Rule] = [:]
    /// Per repeated symbols: rules of at most 0, 1, 2, ... and of exactly 1, 2, 4, ... of them.
    private var chains: [[Symbol]: [Rule]] = [:]
    private var blocks: [[Symbol]: [Rule]] = [:]
    private var upTo: [[Symbol]: [Int: Rule]] = [:]
    /// As in `Grammar`.
    private(set) var uniqueEnd: Int32?

    /// Repetitions that are counted one by one; longer ones are counted in blocks of powers of two.
    static let chainLimit = 256

    init(_ budget: CompilationBudget) { self.budget = budget }

    var ruleCount: Range<Int> { 0 ..< ofRule.count }
    var alternativeCount: Int { starts.count }

    func alternatives(of rule: Int) -> Range<Int> {
        Int(ofRule[rule].lowerBound) ..< Int(ofRule[rule].upperBound)
    }

    func codes(of alternative: Int) -> ArraySlice<Int32> {
        let end = alternative + 1 < starts.count ? Int(starts[alternative + 1]) : codes.count
        return codes[Int(starts[alternative]) ..< end]
    }

    /// A rule to be defined later, so that rules may refer to each other.
    mutating func reserve() -> Rule {
        ofRule.append(0 ..< 0)
        return Rule(index: ofRule.count - 1)
    }

    /// Gives a reserved rule its alternatives; without one, no text follows the rule.
    mutating func define(_ rule: Rule, _ alternatives: [[Symbol]]) throws {
        let first = Int32(starts.count)
        for alternative in alternatives {
            try budget.spend(alternative.count + 4, bytes: 12 * (alternative.count + 4))
            starts.append(Int32(codes.count))
            for symbol in alternative { codes.append(code(of: symbol)) }
            codes.append(-1)
            guard codes.count <= Grammar.sizeLimit else {
                throw Grammar.Fault.tooLarge(limit: Grammar.sizeLimit)
            }
        }
        ofRule[rule.index] = first ..< Int32(starts.count)
    }

    /// An array of items no two of which are equal, which only a text's own memory can tell
    /// (`UniqueItems`): its `]` is a set of its own, so that a state shows that it is inside.
    ///
    /// - Parameter items: What stands between the brackets: no arrays, no objects, and no value in
    ///   two ways.
    mutating func uniqueArray(_ items: Rule) throws -> Rule {
        if uniqueEnd == nil {
            uniqueEnd = -2 - Int32(sets.count)
            sets.append(ByteSet("]"))
        }
        let rule = reserve()
        try define(rule, [Self.literal("[") + [.rule(items)] + Self.literal("]")])
        codes[codes.count - 2] = uniqueEnd ?? -1
        return rule
    }

    private mutating func code(of symbol: Symbol) -> Int32 {
        switch symbol {
        case .end: return -1
        case .rule(let rule): return Int32(rule.index)
        case .bytes(let set):
            if let place = setPlaces[set] { return -2 - place }
            let place = Int32(sets.count)
            sets.append(set)
            setPlaces[set] = place
            return -2 - place
        }
    }

    mutating func rule(_ alternatives: [[Symbol]]) throws -> Rule {
        if alternatives.count == 1, alternatives[0].count == 1,
            case .rule(let only) = alternatives[0][0]
        {
            return only
        }
        let rule = reserve()
        try define(rule, alternatives)
        return rule
    }

    /// The rule of this name, made on first use.
    ///
    /// It may refer to itself.
    mutating func rule(
        named name: String, _ make: (inout GrammarBuilder) throws -> [[Symbol]]
    ) throws -> Rule {
        if let rule = named[name] { return rule }
        let rule = reserve()
        named[name] = rule
        try define(rule, make(&self))
        return rule
    }

    static func literal(_ text: String) -> [Symbol] { literal(Array(text.utf8)) }

    static func literal(_ bytes: some Sequence<UInt8>) -> [Symbol] {
        bytes.map { .bytes(ByteSet(byte: $0)) }
    }

    /// One of these texts: a tree of their bytes, so that a state follows one way, however many
    /// there are.
    mutating func choice(of texts: [[UInt8]]) throws -> Rule {
        let sorted = Set(texts).sorted { $0.lexicographicallyPrecedes($1) }
        let longest = sorted.reduce(0) { max($0, $1.count) }
        try budget.spend(sorted.reduce(sorted.count * 16) { $0 + $1.count * 2 })
        try budget.spend(min(longest, sorted.count) * 4)
        let start = reserve()
        var open = [(rule: start, texts: sorted.indices, depth: 0)]
        while let (rule, range, depth) = open.popLast() {
            var alternatives: [[Symbol]] = []
            var place = range.lowerBound
            if place < range.upperBound, sorted[place].count == depth {
                alternatives.append([])
                place += 1
            }
            while place < range.upperBound {
                let first = place
                while place < range.upperBound, sorted[place][depth] == sorted[first][depth] {
                    place += 1
                }
                // What the first and the last share, all between them share.
                let (low, high) = (sorted[first], sorted[place - 1])
                var end = depth + 1
                while end < low.count, end < high.count, low[end] == high[end] { end += 1 }
                var symbols = Self.literal(low[depth ..< end])
                if first + 1 < place || end < low.count {
                    let rest = reserve()
                    symbols.append(.rule(rest))
                    open.append((rest, first ..< place, end))
                }
                alternatives.append(symbols)
            }
            try define(rule, alternatives)
        }
        return start
    }
}

extension GrammarBuilder {
    /// `symbols`, repeated between `least` and `most` times; without `most`, any number of times.
    mutating func repeated(_ symbols: [Symbol], _ least: Int, _ most: Int?) throws -> [Symbol] {
        var unit = symbols
        if symbols.count > 1, max(least, most ?? 0) > 1 { unit = [.rule(try rule([symbols]))] }
        let required = try exactly(least, unit)
        guard let most else {
            let rest = reserve()
            try define(rest, [unit + [.rule(rest)], []])
            return required + [.rule(rest)]
        }
        guard most > least else { return required }
        return required + [.rule(try atMost(most - least, unit))]
    }

    private mutating func exactly(_ count: Int, _ unit: [Symbol]) throws -> [Symbol] {
        if count * unit.count <= 16 {
            return Array(repeatElement(unit, count: count).joined())
        }
        var doubled = try blocks[unit] ?? [rule([unit])]
        var symbols: [Symbol] = []
        for power in 0 ..< Int.bitWidth - 1 where count >> power > 0 {
            if power == doubled.count {
                let half = Symbol.rule(doubled[power - 1])
                doubled.append(try rule([[half, half]]))
            }
            if count >> power & 1 == 1 { symbols.append(.rule(doubled[power])) }
        }
        blocks[unit] = doubled
        return symbols
    }

    /// At most so many: one by one as far as `chainLimit`.
    ///
    /// Beyond it, with the largest power of two that fits: fewer than that, or that many and then
    /// at most the rest. So a state keeps a way per power, not per count.
    private mutating func atMost(_ count: Int, _ unit: [Symbol]) throws -> Rule {
        if count <= Self.chainLimit {
            var chain = try chains[unit] ?? [rule([[]])]
            while chain.count <= count {
                chain.append(try rule([unit + [.rule(chain[chain.count - 1])], []]))
            }
            chains[unit] = chain
            return chain[count]
        }
        if let known = upTo[unit]?[count] { return known }
        let power = 1 << (Int.bitWidth - 1 - count.leadingZeroBitCount)
        let fewer = try atMost(power - 1, unit)
        let rest = try atMost(count - power, unit)
        let made = try rule([try exactly(power, unit) + [.rule(rest)], [.rule(fewer)]])
        upTo[unit, default: [:]][count] = made
        return made
    }
}
