/// A regular expression that was read.
indirect enum Pattern: Hashable, Sendable {
    case characters(CharacterClass)
    case sequence([Pattern])
    case either([Pattern])
    case repeated(Pattern, Int, Int?)
    /// `(?=…)`, or `(?!…)` if it is not wanted.
    case ahead(Pattern, isWanted: Bool)
    /// `^` and `$`.
    case start, end

    static let empty = Pattern.sequence([])

    /// A text as it is.
    static func literal(_ text: String) -> Pattern {
        .sequence(text.unicodeScalars.map { .characters(CharacterClass($0)) })
    }

    /// Whether it asks for more than what stands at its own place.
    var hasLookaround: Bool {
        switch self {
        case .characters: false
        case .sequence(let parts), .either(let parts): parts.contains(where: \.hasLookaround)
        case .repeated(let part, _, _): part.hasLookaround
        case .ahead, .start, .end: true
        }
    }

    /// Characters of the shortest and of the longest text, nil if any; lookarounds may only
    /// narrow them.
    var lengths: (least: Int, most: Int?) {
        switch self {
        case .characters: return (1, 1)
        case .ahead, .start, .end: return (0, 0)
        case .sequence(let parts):
            return parts.reduce((0, 0)) { sum, part in
                let own = part.lengths
                return (
                    min(Grammar.never, sum.0 + own.least),
                    sum.1.flatMap { a in own.most.map { min(Grammar.never, a + $0) } }
                )
            }
        case .either(let parts):
            let all = parts.map(\.lengths)
            let most = all.reduce(Int?.some(0)) { a, b in
                a.flatMap { a in b.most.map { max(a, $0) } }
            }
            return (all.map(\.least).min() ?? 0, most)
        case .repeated(let part, let low, let high):
            let own = part.lengths
            let (least, isOver) = own.least.multipliedReportingOverflow(by: low)
            var most: Int?
            if own.most == 0 || high == 0 {
                most = 0
            } else if let one = own.most, let high {
                let (product, isOver) = one.multipliedReportingOverflow(by: high)
                most = isOver ? Grammar.never : min(Grammar.never, product)
            }
            return (isOver ? Grammar.never : min(Grammar.never, least), most)
        }
    }

    /// The same without `^` before and `$` after it, and whether they were there; nil if it has
    /// lookarounds elsewhere.
    var anchored: (body: Pattern, start: Bool, end: Bool)? {
        var parts: [Pattern]
        if case .sequence(let own) = self { parts = own } else { parts = [self] }
        let start = parts.first == .start
        if start { parts.removeFirst() }
        let end = parts.last == .end
        if end { parts.removeLast() }
        // `^(?:…)$` with anchors inside is what stands inside.
        if parts.count == 1, !start, !end, case .sequence = parts[0] { return parts[0].anchored }
        let body = Pattern.sequence(parts)
        return body.hasLookaround ? nil : (body, start, end)
    }
}
