import Encoding

extension PlainSchema {
    /// Whether members that no part names may stand in its documents: where none is named, or some
    /// part says what they are.
    var isOpen: Bool {
        if isClosed
            || objects.contains(where: { $0.additional?.bool == false && $0.patterns.isEmpty })
        {
            return false
        }
        let isNamed = !required.isEmpty || objects.contains { !$0.properties.isEmpty }
        return !isNamed || objects.contains { $0.additional != nil || !$0.patterns.isEmpty }
    }
}

/// Objects: named members in the schema's order, then those with free names.
extension SchemaCompiler {
    /// Names that free members must differ from; beyond it there are none.
    private static let namesLimit = 256

    /// Members of an object, in their order.
    private struct Member {
        let name: String
        let schemas: [JSONValue]
        let isRequired: Bool
    }

    mutating func object(
        _ plain: PlainSchema, _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        guard !plain.members.isEmpty else { return try rule([], path) }
        var members = try self.members(plain, path)
        var isOpen = plain.isOpen
        if isOpen, let names = try finiteNames(plain, path) {
            // Free names of which there are few are named ones.
            let known = Set(members.map(\.name))
            for name in names where !known.contains(name) {
                let schemas = try self.schemas(of: name, plain, path)
                members.append(Member(name: name, schemas: schemas, isRequired: false))
            }
            isOpen = false
        }
        isOpen = isOpen && members.count <= Self.namesLimit
        let requiredCount = members.count { $0.isRequired }
        let (least, most) = (plain.members.least, plain.members.most)
        if let most, requiredCount > most { return try rule([], path) }
        if members.isEmpty, isOpen { return try map(plain, path, depth) }
        let free = isOpen && most == nil ? try freeMember(plain, members, path, depth) : nil
        guard most ?? .max >= members.count, least <= max(1, requiredCount) else {
            throw Fault(
                path,
                "minProperties and maxProperties are supported where every count of the "
                    + "named properties lies between them")
        }
        return try rule(members, free, isEmptyAllowed: least == 0, path, depth)
    }

    private mutating func rule(
        _ members: [Member], _ free: [Symbol]?, isEmptyAllowed: Bool, _ path: SchemaPath,
        _ depth: Int
    ) throws -> Rule {
        let comma = GrammarBuilder.literal(",") + [try at(path) { try $0.space() }]
        // From the last member to the first: what may follow when some member came before, and when
        // none did. After the first required one, some always did.
        var later = try rule([[]], path)
        var first = isEmptyAllowed ? later : try rule([], path)
        if let free {
            later = try at(path) { try $0.rule([$0.repeated(comma + free, 0, nil)]) }
            first = try rule([free + [.rule(later)]] + (isEmptyAllowed ? [[]] : []), path)
        }
        let firstRequired = members.firstIndex(where: \.isRequired) ?? members.count
        for (index, member) in members.enumerated().reversed() {
            try budget.spend(8)
            let value = try rule(
                all: member.schemas, path / "properties" / member.name, depth + 1)
            let key = GrammarBuilder.literal(JSONValue.quoted(member.name))
            let whole = Symbol.rule(
                try at(path) { builder in
                    try builder.rule([
                        key + GrammarBuilder.literal(":") + [builder.space(), .rule(value)]
                    ])
                })
            let rest = later
            later = try rule(
                [comma + [whole, .rule(rest)]] + (member.isRequired ? [] : [[.rule(rest)]]), path)
            guard index <= firstRequired else { continue }
            first = try rule(
                [[whole, .rule(rest)]] + (member.isRequired ? [] : [[.rule(first)]]), path)
        }
        return try rule(
            [GrammarBuilder.literal("{") + [.rule(first)] + GrammarBuilder.literal("}")], path)
    }

    /// The members that some part names, each with all that is asked of it.
    private mutating func members(
        _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> [Member] {
        var names: [String] = []
        var seen: Set<String> = []
        for name in plain.objects.flatMap({ $0.properties.map(\.key) }) + plain.required {
            try budget.spend(8, bytes: 64)
            if seen.insert(name).inserted { names.append(name) }
        }
        let required = Set(plain.required)
        return try names.compactMap { name in
            let isRequired = required.contains(name)
            guard try isNamed(name, plain, path) else {
                guard !isRequired else {
                    throw Fault(path, "\(name.printable()) is required but not allowed")
                }
                return nil
            }
            return Member(
                name: name, schemas: try schemas(of: name, plain, path), isRequired: isRequired)
        }
    }

    /// What the parts ask of a member: those that do not name it, as of an additional one.
    private mutating func schemas(
        of name: String, _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> [JSONValue] {
        var schemas: [JSONValue] = []
        for part in plain.objects {
            try budget.spend(4)
            var isKnown = false
            if let place = part.places[name] {
                schemas.append(part.properties[place].value)
                isKnown = true
            }
            for (pattern, schema) in part.patterns where try matches(name, pattern, path) {
                schemas.append(schema)
                isKnown = true
            }
            if !isKnown, let additional = part.additional { schemas.append(additional) }
        }
        return schemas.isEmpty ? [.bool(true)] : schemas
    }

    private mutating func matches(
        _ name: String, _ pattern: String, _ path: SchemaPath
    ) throws -> Bool {
        var plain = PlainSchema()
        plain.patterns = [pattern]
        return try admits(name, plain, path)
    }

    /// Whether `propertyNames` admits a name.
    private mutating func isNamed(
        _ name: String, _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> Bool {
        guard !plain.names.isEmpty else { return true }
        return try keySchemas(plain, path).contains { key in
            if let literals = key.literals, !literals.contains(where: { $0.value.string == name }) {
                return false
            }
            return try admits(name, key, path)
        }
    }

    /// What `propertyNames` asks of a name.
    private mutating func keySchemas(
        _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> [PlainSchema] {
        var string = PlainSchema()
        string.types = [.string]
        var keys = [string]
        for schema in plain.names {
            keys = try product(keys, plains(schema, path / "propertyNames"), path)
        }
        return keys
    }

    /// The names that free members may have, if `propertyNames` lists them.
    private mutating func finiteNames(
        _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> [String]? {
        guard !plain.names.isEmpty else { return nil }
        let keys = try keySchemas(plain, path)
        guard keys.allSatisfy({ $0.literals != nil }) else { return nil }
        var names: [String] = []
        for key in keys { names += try fitting(key, path).compactMap(\.string) }
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }
}

/// Members with free names.
extension SchemaCompiler {
    /// An object of free members alone.
    private mutating func map(
        _ plain: PlainSchema, _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        guard plain.members.least <= 1 else {
            // The text of two members with one name has one member for most readers.
            throw Fault(path, "minProperties above 1 beside free names is not supported")
        }
        let member = try freeMember(plain, [], path, depth)
        return try at(path) {
            try $0.rule($0.list("{", member, "}", plain.members.least, plain.members.most))
        }
    }

    /// A member whose name is none of those given, and what is asked of its name and value.
    private mutating func freeMember(
        _ plain: PlainSchema, _ members: [Member], _ path: SchemaPath, _ depth: Int
    ) throws -> [Symbol] {
        var values = plain.objects.compactMap { part in
            part.patterns.isEmpty ? part.additional : nil
        }
        var keys = try keySchemas(plain, path)
        for part in plain.objects where !part.patterns.isEmpty {
            guard let only = part.patterns.first, part.patterns.count == 1 else {
                throw Fault(path, "patternProperties with several patterns is not supported")
            }
            // A name that matches is what its schema says; others are left out.
            values.append(only.value)
            for index in keys.indices { keys[index].patterns.append(only.key) }
        }
        if values.isEmpty { values = [.bool(true)] }
        let value = try rule(all: values, path / "additionalProperties", depth + 1)
        let key: Rule
        if members.isEmpty {
            var choices: [[Symbol]] = []
            for plain in keys { choices.append([.rule(try rule(of: plain, path, depth))]) }
            key = try rule(choices, path)
        } else {
            key = try self.key(otherThan: members.map(\.name), keys, path)
        }
        return try at(path) { try $0.member(.rule(key), value) }
    }

    /// A name that is none of some.
    private mutating func key(
        otherThan names: [String], _ keys: [PlainSchema], _ path: SchemaPath
    ) throws -> Rule {
        guard let key = keys.first, keys.count == 1, key.literals == nil else {
            throw Fault(path, "alternatives of propertyNames beside properties are not supported")
        }
        return try at(path) { builder in
            var pool = try ExpressionPool(builder.budget)
            var texts: [ExpressionPool.ID] = []
            for name in names {
                let literal = Pattern.sequence([.start, .literal(name), .end])
                texts.append(try pool.texts(literal, whole: true))
            }
            var all = [
                try pool.not(pool.either(texts)),
                try pool.repeated(
                    pool.characters(.printable), key.lengths.least, key.lengths.most),
            ]
            for pattern in key.patterns {
                all.append(try pool.texts(PatternParser.parse(pattern, builder.budget)))
            }
            let content = try builder.rule(TextAutomaton(pool.both(all), &pool), quoted: true)
            let quote = GrammarBuilder.literal("\"")
            return try builder.rule([quote + [.rule(content)] + quote])
        }
    }
}
