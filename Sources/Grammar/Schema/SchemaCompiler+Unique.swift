import Encoding

/// Arrays whose items must differ, where the items are no list of values: every value is written in
/// one way, so that a text's own memory can tell items by their bytes (`UniqueItems`).
extension SchemaCompiler {
    mutating func remembered(
        _ rests: [JSONValue], _ bounds: PlainSchema.CountRange, _ path: SchemaPath
    ) throws -> Rule {
        // Whether so many different ones there are is not known before they are written.
        guard bounds.least <= 1 else {
            throw Fault(
                path,
                "uniqueItems beside minItems of \(bounds.least) is supported where the items are "
                    + "values of a list (enum, const, boolean, null, at most \(Self.listedLimit) "
                    + "integers): the limit for others is 1")
        }
        let item = try distinct(rests, path / "items")
        return try at(path) { builder in
            let more = try GrammarBuilder.literal(",") + [builder.space(), .rule(item)]
            let filled = try [.rule(item)] + builder.repeated(more, 0, bounds.most.map { $0 - 1 })
            let items = try builder.rule([filled] + (bounds.least == 0 ? [[]] : []))
            return try builder.uniqueArray(items)
        }
    }

    /// The rule of single values, each of which is written in one way.
    private mutating func distinct(_ schemas: [JSONValue], _ path: SchemaPath) throws -> Rule {
        var found = [PlainSchema()]
        for schema in schemas { found = try product(found, plains(schema, path), path) }
        var choices: [[Symbol]] = []
        for plain in found {
            if plain.literals != nil {
                let texts = try fitting(plain, path).map { try text(of: $0, path) }
                choices.append([.rule(try literals(texts, path))])
                continue
            }
            guard let types = plain.documentTypes else { throw notDistinct("any value", path) }
            for type in types {
                choices.append([.rule(try distinct(type, plain, path))])
            }
        }
        return try rule(choices, path)
    }

    private mutating func distinct(
        _ type: SchemaType, _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> Rule {
        switch type {
        case .null: return try literals(["null"], path)
        case .boolean: return try literals(["true", "false"], path)
        case .string where plain.patterns.isEmpty && plain.formats.isEmpty:
            let lengths = plain.lengths
            guard !lengths.isEmpty else { return try rule([], path) }
            return try at(path) { try $0.distinctString(lengths.least, lengths.most) }
        // Patterns and formats write each character in one way.
        case .string: return try string(plain, path)
        case .integer where plain.multiples.isEmpty:
            guard let range = plain.range.integers else { return try rule([], path) }
            return try at(path) { try $0.integer(in: range) }
        case .integer: return try numeric(.integer, plain, path)
        case .number where plain.multiples.isEmpty && plain.range == NumberRange():
            return try at(path) { try $0.distinctNumber() }
        case .number: throw notDistinct("numbers with bounds or multipleOf", path)
        case .array: throw notDistinct("arrays", path)
        case .object: throw notDistinct("objects", path)
        }
    }

    /// A value of a list as `distinct` writes it.
    private func text(of value: JSONValue, _ path: SchemaPath) throws -> String {
        switch value {
        case .null, .bool: return value.text
        case .string(let text) where !text.utf8.contains(0x7F): return value.text
        case .number(let text):
            if let number = SchemaNumber(text)?.units(decimals: 0) { return "\(number)" }
            throw notDistinct("values beside others as \(text.printable())", path)
        case .string, .array, .object:
            throw notDistinct("values beside others as \(value.text.printable())", path)
        }
    }

    private func notDistinct(_ items: String, _ path: SchemaPath) -> Fault {
        Fault(
            path,
            "uniqueItems is supported where the items are strings, integers, numbers without "
                + "bounds, booleans, null or values of a list, not for \(items): leave it out, "
                + "and merge equal items where they are read")
    }
}

extension GrammarBuilder {
    /// A string literal in which every character is written in one way: as it is where that is
    /// allowed.
    fileprivate mutating func distinctString(_ least: Int, _ most: Int?) throws -> Rule {
        let character = try rule(named: "distinct character") { builder in
            // Some writers escape the delete character, and others do not.
            let set = CharacterClass.all.subtracting(CharacterClass([0x7F ... 0x7F]))
            return try builder.character(in: set, quoted: true).map { [$0] }
        }
        let quote = Self.literal("\"")
        return try rule([quote + repeated([.rule(character)], least, most) + quote])
    }

    /// A number of at most 15 digits without zeros at its end or an exponent: two of them are two
    /// numbers, also as doubles.
    fileprivate mutating func distinctNumber() throws -> Rule {
        try rule(named: "distinct number") { builder in
            let nonzero = Symbol.bytes(ByteSet("123456789"))
            let digit = Symbol.bytes(.digits)
            let whole = Symbol.rule(
                try builder.rule([
                    Self.literal("0"), try [nonzero] + builder.repeated([digit], 0, 8),
                ]))
            let fraction =
                try [whole] + Self.literal(".") + builder.repeated([digit], 0, 5) + [nonzero]
            let most = Int(NumberRange.magnitude)
            return [
                [.rule(try builder.integer(in: -most ... most))], fraction,
                Self.literal("-") + fraction,
            ]
        }
    }
}
