import Encoding

extension SchemaCompiler {
    /// References and combinations in each other, while they are merged.
    private static let mergeDepthLimit = 64

    /// What a schema asks, as alternatives of plain schemas: references followed, `allOf` merged,
    /// `anyOf` and `oneOf` with what stands beside them.
    ///
    /// Whoever asks on the way counts as nested: options that are compared may lead to themselves.
    mutating func plains(_ schema: JSONValue, _ path: SchemaPath) throws -> [PlainSchema] {
        mergeDepth += 1
        defer { mergeDepth -= 1 }
        guard mergeDepth <= Self.mergeDepthLimit else {
            throw Fault(
                path, "references and combinations nested deeper than \(Self.mergeDepthLimit)")
        }
        // References that lead to each other twice would be followed 2^depth times.
        try count(16, path)
        if let bool = schema.bool { return bool ? [PlainSchema()] : [] }
        guard let members = schema.object else {
            throw Fault(path, "\(schema.kind) where a schema should be")
        }
        let spoken = try SchemaKeywords.spoken(members, at: path)
        let combining = ["$ref", "allOf", "anyOf", "oneOf"]
        let own = spoken.filter { !combining.contains($0.key) }
        var found = [try PlainSchema(own, at: path, budget)]
        for (key, value) in spoken {
            switch key {
            case "$ref":
                let target = try document.target(of: value, at: path, budget).schema
                found = try product(found, plains(target, path), path)
            case "allOf":
                for (index, part) in try parts(value, key, path).enumerated() {
                    let more = try plains(part, path / key / "\(index)")
                    found = try product(found, more, path)
                }
            case "anyOf", "oneOf":
                let options = try self.options(key, of: schema, path)
                if key == "oneOf", !isComparing { try checkExclusive(options, path) }
                var more: [PlainSchema] = []
                for (index, option) in options.enumerated() {
                    more += try plains(option, path / key / "\(index)")
                }
                found = try product(found, more, path)
            default: break
            }
        }
        return found
    }

    /// Each of some schemas with each of others.
    func product(
        _ some: [PlainSchema], _ others: [PlainSchema], _ path: SchemaPath
    ) throws -> [PlainSchema] {
        if some.count == 1, others.count == 1 {
            var both = some[0]
            try narrow(&both, others[0], path)
            return both.isNever ? [] : [both]
        }
        var all: [PlainSchema] = []
        for a in some {
            for b in others {
                var both = a
                // A copy of the arrays that `narrow` grows.
                try count(
                    64 + a.objects.count + a.arrays.count + a.required.count
                        + (a.literals?.count ?? 0), path)
                try narrow(&both, b, path)
                if !both.isNever { all.append(both) }
            }
        }
        guard all.count <= Self.alternativeLimit else {
            throw Fault(
                path,
                "\(all.count) alternatives where combinations are merged: the limit is "
                    + "\(Self.alternativeLimit)")
        }
        return all
    }

    private func narrow(
        _ plain: inout PlainSchema, _ other: PlainSchema, _ path: SchemaPath
    ) throws {
        do { try plain.narrow(other, budget) } catch let fault as Grammar.Fault {
            throw Fault(path, fault.description)
        }
    }

    private func count(_ steps: Int, _ path: SchemaPath) throws {
        do { try budget.spend(steps, bytes: steps * 16) } catch let fault as Grammar.Fault {
            throw Fault(path, fault.description)
        }
    }
}
