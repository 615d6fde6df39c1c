import Encoding

/// What decides about a string or a number: rules of one key are one rule.
struct ScalarKey: Hashable {
    let type: SchemaType
    var range = NumberRange()
    var multiples: [SchemaNumber] = []
    var lengths = PlainSchema.CountRange()
    var patterns: [String] = []
}

extension SchemaCompiler {
    /// Steps for an automaton of a pattern that a grammar could follow without one.
    private static let automatonSteps = 1 << 18

    mutating func string(_ plain: PlainSchema, _ path: SchemaPath) throws -> Rule {
        let key = ScalarKey(
            type: .string, lengths: plain.lengths, patterns: Self.patterns(of: plain, .whole))
        if let known = scalars[key] { return known }
        guard !plain.lengths.isEmpty else { return try rule([], path) }
        let rule: Rule
        if key.patterns.isEmpty {
            let (least, most) = (plain.lengths.least, plain.lengths.most)
            rule = try at(path) {
                try least == 0 && most == nil ? $0.anyString() : $0.string(least, most)
            }
        } else {
            var contents = contents
            defer { self.contents = contents }
            rule = try at(path) { builder in
                let content = try Self.content(plain, &builder, &contents)
                let quote = GrammarBuilder.literal("\"")
                return try builder.rule([quote + [.rule(content)] + quote])
            }
        }
        scalars[key] = rule
        return rule
    }

    /// The patterns of a schema, and those of its formats in a form.
    private static func patterns(of plain: PlainSchema, _ form: StringFormat.Form) -> [String] {
        plain.patterns
            + plain.formats.compactMap {
                StringFormat.pattern($0, isPatterned: !plain.patterns.isEmpty, form: form)
            }
    }

    /// The texts that satisfy patterns, formats and lengths, in the first form of the formats that
    /// is small enough and has one.
    ///
    /// A form that a length would cut is left out: fields whose lengths differ share the automaton
    /// of another one then.
    private static func content(
        _ plain: PlainSchema, _ builder: inout GrammarBuilder, _ known: inout [ScalarKey: Rule]
    ) throws -> Rule {
        let hasForms = plain.formats.contains(where: StringFormat.hasForms)
        var isSpent = false
        // Texts up to here were tried where the schema admits longer ones.
        var tried: Int?
        for form in forms(of: plain) {
            let texts = patterns(of: plain, form)
            var patterns: [Pattern] = []
            for text in texts { patterns.append(try PatternParser.parse(text, builder.budget)) }
            var lengths = plain.lengths
            let cap = hasForms ? StringFormat.longest(plain.formats, form, plain.lengths) : nil
            lengths.most = [lengths.most, cap].compactMap(\.self).min()
            if !lengths.isEmpty { lengths = narrowing(lengths, of: patterns) }
            if let cap, lengths.most == cap, cap < plain.lengths.most ?? .max { tried = cap }
            guard !lengths.isEmpty else { continue }
            let isCut = lengths != PlainSchema.CountRange()
            if hasForms, form.isBounded, isCut { continue }
            let key = ScalarKey(type: .string, lengths: lengths, patterns: texts)
            if let rule = known[key] { return rule }
            switch try content(patterns, lengths, form, hasForms, &builder) {
            case .rule(let rule):
                known[key] = rule
                return rule
            case .spent: isSpent = true
            case .empty: continue
            }
        }
        if isSpent {
            throw PatternParser.Fault(
                reason: "it takes too many states, with what stands beside it "
                    + "(half of CompilationBudget's steps)")
        }
        if let tried {
            throw PatternParser.Fault(
                reason: "no text of up to \(tried) characters satisfies it with what stands "
                    + "beside it, and longer ones are not written")
        }
        if hasForms, try !Self.isContradiction(plain, builder.budget) {
            throw PatternParser.Fault(
                reason: "none of the texts that this format is written as satisfies it with what "
                    + "stands beside it")
        }
        // No text at all: an alternative that is never taken.
        return try builder.rule([])
    }

    /// Whether no text can satisfy the patterns and formats of a schema, also none that the forms
    /// of its formats leave out.
    private static func isContradiction(
        _ plain: PlainSchema, _ budget: CompilationBudget
    ) throws -> Bool {
        let texts = plain.patterns + plain.formats.compactMap(StringFormat.outline)
        var patterns: [Pattern] = []
        for text in texts { patterns.append(try PatternParser.parse(text, budget)) }
        let automaton = try budget.attempt(steps: .max) {
            try Self.automaton(patterns, plain.lengths, budget)
        }
        return automaton.map { !$0.isAccepting.contains(true) } ?? false
    }

    /// What became of an automaton.
    private enum Content {
        case rule(Rule)
        /// It has no text.
        case empty
        /// It takes too many steps.
        case spent
    }

    /// The forms to be tried. Beside patterns and other formats the whole one is too large.
    private static func forms(of plain: PlainSchema) -> [StringFormat.Form] {
        guard plain.formats.contains(where: StringFormat.hasForms) else { return [.whole] }
        let isAlone = plain.patterns.isEmpty && plain.formats.count == 1
        return isAlone ? [.whole, .narrow, .unbounded, .wide] : [.narrow, .unbounded, .wide]
    }

    /// The texts in which all patterns occur, of so many characters.
    private static func content(
        _ patterns: [Pattern], _ lengths: PlainSchema.CountRange, _ form: StringFormat.Form,
        _ hasForms: Bool, _ builder: inout GrammarBuilder
    ) throws -> Content {
        let budget = builder.budget
        let isAlone = patterns.count == 1 && lengths == PlainSchema.CountRange()
        let direct = isAlone ? patterns[0].anchored : nil
        // Alone, the whole format is followed without an automaton: it would be too large.
        let isKnown = direct != nil && hasForms && form == .whole
        let automaton =
            try isKnown
            ? nil
            : budget.attempt(steps: direct == nil ? .max : automatonSteps) {
                try Self.automaton(patterns, lengths, budget)
            }
        if let automaton {
            guard automaton.isAccepting.contains(true) else { return .empty }
            return .rule(try builder.rule(automaton, quoted: true))
        }
        guard let direct else { return .spent }
        let some = Pattern.repeated(.characters(.printable), 0, nil)
        let whole = Pattern.sequence(
            (direct.start ? [] : [some]) + [direct.body] + (direct.end ? [] : [some]))
        return .rule(try builder.rule([try builder.symbols(whole, quoted: true)]))
    }

    /// The lengths that leave out some text of the patterns.
    private static func narrowing(
        _ lengths: PlainSchema.CountRange, of patterns: [Pattern]
    ) -> PlainSchema.CountRange {
        var lengths = lengths
        for case .some(let body) in patterns.map(\.anchored) where body.start && body.end {
            let own = body.body.lengths
            if own.least >= lengths.least { lengths.least = 0 }
            if let most = own.most, most <= lengths.most ?? 0 { lengths.most = nil }
        }
        return lengths
    }

    private static func automaton(
        _ patterns: [Pattern], _ lengths: PlainSchema.CountRange, _ budget: CompilationBudget
    ) throws -> TextAutomaton {
        var pool = try ExpressionPool(budget)
        var all: [ExpressionPool.ID] = []
        for pattern in patterns { all.append(try pool.texts(pattern)) }
        if lengths != PlainSchema.CountRange() {
            all.append(
                try pool.repeated(pool.characters(.all), lengths.least, lengths.most))
        }
        return try TextAutomaton(pool.both(all), &pool)
    }

    /// Whether a text is one that a string schema admits.
    mutating func admits(_ text: String, _ plain: PlainSchema, _ path: SchemaPath) throws -> Bool {
        let count = text.unicodeScalars.count
        guard count >= plain.lengths.least, count <= plain.lengths.most ?? .max else {
            return false
        }
        let patterns = Self.patterns(of: plain, .whole)
        return try at(path) { builder in
            var pool = try ExpressionPool(builder.budget)
            for pattern in patterns {
                var state = try pool.texts(PatternParser.parse(pattern, builder.budget))
                for scalar in text.unicodeScalars {
                    var known: [ExpressionPool.ID: ExpressionPool.ID] = [:]
                    state = try pool.derivative(state, by: scalar.value, &known)
                }
                if !pool.isNullable(state) { return false }
            }
            return true
        }
    }

    mutating func numeric(
        _ type: SchemaType, _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> Rule {
        let key = ScalarKey(type: type, range: plain.range, multiples: plain.multiples)
        if let known = scalars[key] { return known }
        let rule: Rule
        if !plain.multiples.isEmpty {
            rule = try multiple(type, plain, path)
        } else if plain.range == NumberRange() {
            rule = try at(path) { try type == .integer ? $0.integer() : $0.number() }
        } else if type == .integer {
            guard let range = plain.range.integers else {
                throw Fault(path, "no integer lies in its bounds")
            }
            rule = try at(path) { try $0.integer(in: range) }
        } else {
            rule = try number(plain.range, path)
        }
        scalars[key] = rule
        return rule
    }

    private mutating func number(_ range: NumberRange, _ path: SchemaPath) throws -> Rule {
        guard let grid = range.grid else {
            throw Fault(
                path,
                "bounds of a number with more than \(NumberRange.decimalLimit) decimals, "
                    + "or above 1e15, are not supported")
        }
        let rule =
            try grid.low > grid.high ? nil : at(path) { try $0.number(in: grid) }
        guard let rule else { throw Fault(path, "no number lies in its bounds") }
        return rule
    }
}

extension SchemaCompiler {
    /// The values of `const` and `enum` that satisfy what stands beside them.
    mutating func fitting(_ plain: PlainSchema, _ path: SchemaPath) throws -> [JSONValue] {
        let values = (plain.literals ?? []).map(\.value)
        try budget.spend(values.count * 4)
        let isStructured = plain.spokenTypes.contains(.object) || plain.spokenTypes.contains(.array)
        return try values.filter { value in
            if let types = plain.types, !types.contains(where: { value.isOfType($0) }) {
                return false
            }
            switch value {
            case .string(let text): return try admits(text, plain, path)
            case .number(let text):
                guard plain.range.contains(Double(text) ?? .nan) else { return false }
                return plain.multiples.allSatisfy { multiple in
                    SchemaNumber(text).map { Self.isMultiple($0, of: multiple) } ?? false
                }
            case .object, .array:
                guard !isStructured else {
                    throw Fault(
                        path,
                        "objects and arrays as values beside keywords about them are not "
                            + "supported")
                }
                return true
            case .null, .bool: return true
            }
        }
    }

    mutating func literals(_ plain: PlainSchema, _ path: SchemaPath) throws -> Rule {
        let values = try fitting(plain, path)
        if values.isEmpty, let types = plain.types, plain.literals?.isEmpty == false {
            let names = types.map(\.rawValue).sorted().joined(separator: ", ")
            throw Fault(path, "none of its values satisfies what stands beside it (\(names))")
        }
        return try literals(values.map(\.text), path)
    }
}
