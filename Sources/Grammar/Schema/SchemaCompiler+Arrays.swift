import Encoding

/// Arrays: a tuple, then items of one schema.
extension SchemaCompiler {
    /// Different values up to which an array of each at most once may have them in any order.
    private static let permutationLimit = 6

    mutating func array(
        _ plain: PlainSchema, _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        var bounds = plain.items
        let prefixes = plain.arrays.map(\.prefix.count)
        let prefixCount = prefixes.max() ?? 0
        for part in plain.arrays where part.rest?.bool == false {
            bounds.narrow(.init(least: 0, most: part.prefix.count))
        }
        let rests = plain.arrays.compactMap(\.rest)
        if prefixCount > 0 {
            // A tuple comes whole unless the schema says otherwise: narrower, and what Zod means.
            if bounds.least == 0 { bounds.least = min(prefixCount, bounds.most ?? prefixCount) }
            if rests.isEmpty || plain.isClosed {
                bounds.narrow(.init(least: 0, most: max(prefixCount, bounds.least)))
            }
        }
        guard !bounds.isEmpty else { return try rule([], path) }
        if plain.isUnique, bounds.most ?? .max > 1 {
            return try unique(plain, rests, bounds, path)
        }
        var items: [Rule] = []
        for index in 0 ..< min(prefixCount, bounds.most ?? prefixCount) {
            let schemas = plain.arrays.compactMap { part in
                index < part.prefix.count ? part.prefix[index] : part.rest
            }
            try budget.spend(plain.arrays.count)
            let place = path / "prefixItems" / "\(index)"
            items.append(try rule(all: schemas, place, depth + 1))
        }
        let rest =
            try bounds.most ?? .max > items.count
            ? rule(all: rests, path / "items", depth + 1) : nil
        return try list(items, rest, bounds, path)
    }

    private mutating func list(
        _ items: [Rule], _ rest: Rule?, _ bounds: PlainSchema.CountRange, _ path: SchemaPath
    ) throws -> Rule {
        if items.isEmpty {
            return try at(path) { builder in
                guard let rest else { return try builder.rule([GrammarBuilder.literal("[]")]) }
                return try builder.rule(
                    builder.list("[", [.rule(rest)], "]", bounds.least, bounds.most))
            }
        }
        return try at(path) { builder in
            let comma = try GrammarBuilder.literal(",") + [builder.space()]
            // From the end: what may follow so many items.
            var after: [Symbol] = []
            if let rest {
                after = try builder.repeated(
                    comma + [.rule(rest)], max(0, bounds.least - items.count),
                    bounds.most.map { $0 - items.count })
            }
            for (index, item) in items.enumerated().dropFirst().reversed() {
                let more = comma + [.rule(item)] + after
                after = [.rule(try builder.rule([more] + (index < bounds.least ? [] : [[]])))]
            }
            let filled =
                GrammarBuilder.literal("[") + [.rule(items[0])] + after
                + GrammarBuilder.literal("]")
            return try builder.rule(
                [filled] + (bounds.least == 0 ? [GrammarBuilder.literal("[]")] : []))
        }
    }

    /// An array whose items must differ: values of a list, each at most once, in any order if they
    /// are few, else in the order of the list; or single values that the text remembers.
    private mutating func unique(
        _ plain: PlainSchema, _ rests: [JSONValue], _ bounds: PlainSchema.CountRange,
        _ path: SchemaPath
    ) throws -> Rule {
        guard plain.arrays.allSatisfy(\.prefix.isEmpty) else {
            throw Fault(
                path,
                "uniqueItems beside prefixItems is not supported: leave it out, and merge equal "
                    + "items where they are read")
        }
        guard let values = try finiteValues(rests, path / "items") else {
            return try remembered(rests, bounds, path)
        }
        let most = min(values.count, bounds.most ?? values.count)
        try budget.spend(values.reduce(0) { $0 + $1.utf8.count })
        guard bounds.least <= most else { return try rule([], path) }
        let texts = values.map { GrammarBuilder.literal($0) }
        return try at(path) { builder in
            let content =
                try values.count <= Self.permutationLimit
                ? Self.permutations(texts, bounds.least, most, &builder)
                : Self.subsequences(texts, bounds.least, most, &builder)
            return try builder.rule([
                GrammarBuilder.literal("[") + [.rule(content)] + GrammarBuilder.literal("]")
            ])
        }
    }

    /// Some of the texts in any order, with commas: what may follow is known by those used.
    private static func permutations(
        _ texts: [[Symbol]], _ least: Int, _ most: Int, _ builder: inout GrammarBuilder
    ) throws -> Rule {
        let comma = try GrammarBuilder.literal(",") + [builder.space()]
        let rules = (0 ..< 1 << texts.count).map { _ in builder.reserve() }
        for used in rules.indices {
            let count = used.nonzeroBitCount
            var choices: [[Symbol]] = count >= least ? [[]] : []
            for (index, text) in texts.enumerated() where count < most && used >> index & 1 == 0 {
                choices.append(
                    (count == 0 ? [] : comma) + text + [.rule(rules[used | 1 << index])])
            }
            try builder.define(rules[used], choices)
        }
        return rules[0]
    }

    /// Some of the texts in their order: what may follow is known by the next text and the count,
    /// which without a limit above is told only up to the least.
    private static func subsequences(
        _ texts: [[Symbol]], _ least: Int, _ most: Int, _ builder: inout GrammarBuilder
    ) throws -> Rule {
        let comma = try GrammarBuilder.literal(",") + [builder.space()]
        let isLimited = most < texts.count
        let last = isLimited ? most : max(1, least)
        // After the last text.
        var rules: [Rule] = []
        for count in 0 ... last { rules.append(try builder.rule(count >= least ? [[]] : [])) }
        for text in texts.reversed() {
            var before: [Rule] = []
            for count in 0 ... last {
                var choices: [[Symbol]] = [[.rule(rules[count])]]
                if count < last || !isLimited {
                    let next = rules[min(last, count + 1)]
                    choices.append((count == 0 ? [] : comma) + text + [.rule(next)])
                }
                before.append(try builder.rule(choices))
            }
            rules = before
        }
        return rules[0]
    }

    /// The integers that a schema allows, if they are few.
    private func listed(_ plain: PlainSchema) -> [Int]? {
        guard let range = plain.range.integers else { return [] }
        guard range.upperBound - range.lowerBound < Self.listedLimit else { return nil }
        return range.filter { value in
            guard let number = SchemaNumber("\(value)") else { return false }
            return plain.multiples.allSatisfy { Self.isMultiple(number, of: $0) }
        }
    }

    /// The texts of the values that schemas allow, if they list them.
    private mutating func finiteValues(
        _ schemas: [JSONValue], _ path: SchemaPath
    ) throws -> [String]? {
        var found = [PlainSchema()]
        for schema in schemas { found = try product(found, plains(schema, path), path) }
        var values: [String] = []
        var seen: Set<String> = []
        for plain in found {
            let some: [JSONValue]
            if plain.literals != nil {
                some = try fitting(plain, path)
            } else {
                guard let types = plain.types, types.isSubset(of: [.null, .boolean, .integer]),
                    let integers = types.contains(.integer) ? listed(plain) : []
                else { return nil }
                try budget.spend(integers.count)
                some =
                    integers.map { .number($0) } + (types.contains(.boolean) ? [true, false] : [])
                    + (types.contains(.null) ? [.null] : [])
            }
            for value in some where try seen.insert(value.canonical(budget)).inserted {
                values.append(value.text)
            }
        }
        return values
    }
}
