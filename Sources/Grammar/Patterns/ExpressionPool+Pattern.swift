extension ExpressionPool {
    /// The texts in which a pattern occurs, or that it matches whole.
    mutating func texts(_ pattern: Pattern, whole: Bool = false) throws -> ID {
        var texts: ID
        if whole {
            texts = try expression(pattern, then: Self.empty, atStart: true)
        } else {
            let rest = try repeated(characters(.printable), 0, nil)
            let some = try repeated(characters(.printable), 1, nil)
            texts = try either([
                expression(pattern, then: rest, atStart: true),
                sequence(some, try expression(pattern, then: rest, atStart: false)),
            ])
        }
        // What must not follow means the same in all dialects for ASCII alone.
        if pattern.forbids { texts = try both([texts, repeated(characters(.plain), 0, nil)]) }
        return texts
    }

    /// The pattern, then `rest`: a lookahead reads both.
    private mutating func expression(
        _ pattern: Pattern, then rest: ID, atStart: Bool
    ) throws -> ID {
        try budget.spend(4)
        guard pattern.hasLookaround else { return try sequence(plain(pattern), rest) }
        switch pattern {
        case .start: return atStart ? rest : Self.nothing
        case .end: return isNullable(rest) ? Self.empty : Self.nothing
        case .ahead(let part, let isWanted):
            let found = try expression(part, then: anything(), atStart: atStart)
            return try both([isWanted ? found : not(found), rest])
        case .either(let parts):
            var all: [ID] = []
            for part in parts { all.append(try expression(part, then: rest, atStart: atStart)) }
            return try either(all)
        case .sequence(let parts):
            var (rest, index) = (rest, parts.count)
            while index > 0 {
                index -= 1
                let before = parts[..<index]
                let isFirst = atStart && before.allSatisfy { $0.lengths.most == 0 }
                if parts[index].mentionsStart, !isFirst,
                    before.allSatisfy({ $0.lengths.least == 0 }), atStart
                {
                    throw PatternParser.Fault(reason: "^ after what may be empty")
                }
                rest = try expression(parts[index], then: rest, atStart: isFirst)
            }
            return rest
        case .repeated(let part, let least, let most):
            guard let most, most <= 4 else {
                throw PatternParser.Fault(
                    reason: "an assertion inside a repetition of more than 4")
            }
            var texts = rest
            for count in stride(from: most, to: 0, by: -1) {
                let more = try expression(part, then: texts, atStart: atStart && count == 1)
                texts = count > least ? try either([more, rest]) : more
            }
            return texts
        case .characters: return try sequence(plain(pattern), rest)
        }
    }

    /// A pattern without lookarounds.
    private mutating func plain(_ pattern: Pattern) throws -> ID {
        try budget.spend(2)
        switch pattern {
        case .characters(let set): return try characters(set)
        case .sequence(let parts):
            var texts = Self.empty
            for part in parts.reversed() { texts = try sequence(plain(part), texts) }
            return texts
        case .either(let parts):
            var all: [ID] = []
            for part in parts { all.append(try plain(part)) }
            return try either(all)
        case .repeated(let part, let least, let most):
            return try repeated(plain(part), least, most)
        case .ahead, .start, .end: return Self.empty
        }
    }
}

extension CharacterClass {
    /// ASCII with the white space that patterns may name.
    fileprivate static let plain = CharacterClass.ascii.union(.spaces)
}

extension Pattern {
    /// Whether it says what must not follow.
    fileprivate var forbids: Bool {
        switch self {
        case .ahead(let part, let isWanted): !isWanted || part.forbids
        case .sequence(let parts), .either(let parts): parts.contains(where: \.forbids)
        case .repeated(let part, _, _): part.forbids
        case .characters, .start, .end: false
        }
    }

    fileprivate var mentionsStart: Bool {
        switch self {
        case .start: true
        case .ahead(let part, _), .repeated(let part, _, _): part.mentionsStart
        case .sequence(let parts), .either(let parts): parts.contains(where: \.mentionsStart)
        case .characters, .end: false
        }
    }
}
