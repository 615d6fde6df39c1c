/// A deterministic automaton over characters, whose states are expressions.
struct TextAutomaton {
    /// Where one class of characters leads from a state.
    struct Way {
        let characters: CharacterClass
        let target: Int
    }

    private(set) var ways: [[Way]] = []
    private(set) var isAccepting: [Bool] = []

    /// - Throws: `Grammar.Fault.tooExpensive` if that takes more than the pool's budget has.
    init(_ start: ExpressionPool.ID, _ pool: inout ExpressionPool) throws {
        let classes = try Self.classes(of: start, in: pool)
        var places: [ExpressionPool.ID: Int] = [start: 0]
        var open = [start]
        var next = 0
        while next < open.count {
            let id = open[next]
            next += 1
            isAccepting.append(pool.isNullable(id))
            var targets: [(id: ExpressionPool.ID, ranges: [ClosedRange<UInt32>])] = []
            var placeOf: [ExpressionPool.ID: Int] = [:]
            for characters in classes {
                var known: [ExpressionPool.ID: ExpressionPool.ID] = [:]
                let value = characters.ranges[0].lowerBound
                let target = try pool.derivative(id, by: value, &known)
                try pool.budget.spend(characters.ranges.count)
                guard target != ExpressionPool.nothing else { continue }
                if let place = placeOf[target] {
                    targets[place].ranges += characters.ranges
                } else {
                    placeOf[target] = targets.count
                    targets.append((target, characters.ranges))
                }
            }
            var found: [Way] = []
            for (target, ranges) in targets {
                if places[target] == nil {
                    places[target] = open.count
                    open.append(target)
                }
                try pool.budget.spend(4 + ranges.count, bytes: 48 + 16 * ranges.count)
                found.append(
                    Way(characters: CharacterClass(ranges), target: places[target] ?? 0))
            }
            ways.append(found)
        }
    }

    /// Parts all characters so that those of one part are in the same classes of an expression.
    private static func classes(
        of start: ExpressionPool.ID, in pool: ExpressionPool
    ) throws -> [CharacterClass] {
        var open = [start]
        var seen: Set<ExpressionPool.ID> = [start]
        var sets: Set<CharacterClass> = []
        while let id = open.popLast() {
            var parts: [ExpressionPool.ID] = []
            switch pool[id] {
            case .nothing, .empty: break
            case .characters(let set): sets.insert(set)
            case .sequence(let a, let b): parts = [a, b]
            case .either(let all), .both(let all): parts = all
            case .not(let part), .repeated(let part, _, _): parts = [part]
            case .multiple:
                for value in UInt32(0x30) ... 0x39 {
                    sets.insert(CharacterClass([value ... value]))
                }
                sets.insert(CharacterClass([0x2E ... 0x2E]))
            }
            for part in parts where seen.insert(part).inserted { open.append(part) }
            try pool.budget.spend(1 + parts.count)
        }
        sets.insert(.all)
        let ordered = sets.sorted {
            $0.ranges.first?.lowerBound ?? 0 < $1.ranges.first?.lowerBound ?? 0
        }
        // Where some class begins or has ended; between two of these all characters are alike.
        var cuts: Set<UInt32> = []
        for set in ordered {
            for range in set.ranges {
                cuts.insert(range.lowerBound)
                cuts.insert(range.upperBound + 1)
            }
        }
        let places = cuts.sorted()
        var members = [[Int]](repeating: [], count: places.count)
        var placeOf: [UInt32: Int] = [:]
        for (place, cut) in places.enumerated() { placeOf[cut] = place }
        for (index, set) in ordered.enumerated() {
            for range in set.ranges {
                guard let first = placeOf[range.lowerBound],
                    let last = placeOf[range.upperBound + 1]
                else { continue }
                try pool.budget.spend(last - first)
                for place in first ..< last { members[place].append(index) }
            }
        }
        var groups: [[Int]: [ClosedRange<UInt32>]] = [:]
        for place in places.indices.dropLast() where !members[place].isEmpty {
            groups[members[place], default: []].append(places[place] ... places[place + 1] - 1)
        }
        return groups.values.map { CharacterClass($0) }
            .sorted { $0.ranges[0].lowerBound < $1.ranges[0].lowerBound }
    }
}

extension GrammarBuilder {
    /// The texts of an automaton, as they stand in a JSON string or as they are.
    mutating func rule(_ automaton: TextAutomaton, quoted: Bool) throws -> Rule {
        let states = automaton.ways.indices.map { _ in reserve() }
        for (state, ways) in automaton.ways.enumerated() {
            var alternatives: [[Symbol]] = automaton.isAccepting[state] ? [[]] : []
            for way in ways {
                let symbols = try character(in: way.characters, quoted: quoted)
                alternatives += symbols.map { [$0, .rule(states[way.target])] }
            }
            try define(states[state], alternatives)
        }
        return states[0]
    }

    /// One character of a class, as one symbol for those of one byte and one for the others.
    mutating func character(in set: CharacterClass, quoted: Bool) throws -> [Symbol] {
        let plain = CharacterClass([0x20 ... 0x21, 0x23 ... 0x5B, 0x5D ... 0x7F])
        let bytes = quoted ? set.intersection(plain) : set.intersection(.init([0 ... 0x7F]))
        let others = set.subtracting(bytes)
        try budget.spend(set.ranges.count * 4)
        var symbols: [Symbol] = []
        if !bytes.isEmpty {
            var single = ByteSet()
            for range in bytes.ranges { for value in range { single.insert(UInt8(value)) } }
            symbols.append(.bytes(single))
        }
        if !others.isEmpty {
            // Named by its ranges: a class occurs at many states.
            let ranges = others.ranges.map { "\($0.lowerBound)-\($0.upperBound)" }
            try budget.spend(ranges.count * 8)
            let name = "class \(quoted) " + ranges.joined(separator: ",")
            symbols.append(
                .rule(
                    try rule(named: name) { builder in
                        try builder.character(of: others, quoted: quoted)
                    }))
        }
        return symbols
    }

    /// A pattern without assertions, way by way: what takes too many states for an automaton.
    mutating func symbols(_ pattern: Pattern, quoted: Bool) throws -> [Symbol] {
        try budget.spend(2)
        switch pattern {
        case .characters(let set):
            let symbols = try character(in: set, quoted: quoted)
            return symbols.count == 1 ? symbols : [.rule(try rule(symbols.map { [$0] }))]
        case .sequence(let parts):
            var symbols: [Symbol] = []
            for part in parts { symbols += try self.symbols(part, quoted: quoted) }
            return symbols
        case .either(let parts):
            var alternatives: [[Symbol]] = []
            for part in parts { alternatives.append(try symbols(part, quoted: quoted)) }
            return [.rule(try rule(alternatives))]
        case .repeated(let part, let least, let most):
            // Empty repetitions add nothing, and would make the rule lead to itself.
            let unit = try symbols(part, quoted: quoted)
            guard part.lengths.least == 0, most == nil else {
                return try repeated([.rule(try rule([unit]))], least, most)
            }
            throw PatternParser.Fault(
                reason: "an unlimited repetition of what may be empty takes too many states")
        case .ahead, .start, .end: return []
        }
    }
}
