import Encoding

/// `oneOf`: its options are alternatives, if none of them admits a document of another.
extension SchemaCompiler {
    /// Properties in properties that are compared to distinguish options.
    private static let exclusionDepth = 3

    /// Checks that no document of one option satisfies another.
    ///
    /// A `oneOf` in an option counts as `anyOf` here: what has more documents in common is apart
    /// all the more, and where its own turn comes it is checked itself.
    mutating func checkExclusive(_ options: [JSONValue], _ path: SchemaPath) throws {
        isComparing = true
        defer { isComparing = false }
        var all: [[PlainSchema]] = []
        for (index, option) in options.enumerated() {
            all.append(try plains(option, path / "\(index)"))
        }
        for (index, some) in all.enumerated() {
            for (other, others) in all.enumerated() where other != index {
                for a in some {
                    for b in others where try !excludes(a, from: b, path, 0) {
                        throw Fault(
                            path,
                            "oneOf is not supported where a document of one option may satisfy "
                                + "another, as those of \(index) and \(other); anyOf allows that")
                    }
                }
            }
        }
    }

    /// Whether no document that the grammar makes of one schema satisfies the other.
    private mutating func excludes(
        _ a: PlainSchema, from b: PlainSchema, _ path: SchemaPath, _ depth: Int
    ) throws -> Bool {
        try budget.spend(32)
        if a.isNever || b.isNever { return true }
        if let values = a.literals {
            if let others = b.literals {
                try budget.spend(values.count + others.count)
                let keys = Set(others.map(\.key))
                return try fitting(a, path).allSatisfy { value in
                    try !keys.contains(value.canonical(budget))
                }
            }
            var open = b
            open.literals = a.literals
            open.types = b.types
            guard values.allSatisfy({ $0.value.array == nil && $0.value.object == nil }) else {
                return false
            }
            return try fitting(open, path).isEmpty
        }
        let types = Set(a.documentTypes ?? SchemaType.allCases)
        var shared: [SchemaType] = []
        for type in types {
            // What does not speak of a type admits all of it.
            let theirs = b.types ?? Set(SchemaType.allCases)
            let isNumeric = type == .integer || type == .number
            let meets =
                theirs.contains(type)
                || isNumeric && (theirs.contains(.integer) || theirs.contains(.number))
            if meets { shared.append(type) }
        }
        for type in shared {
            switch type {
            case .object where try excludesObjects(a, from: b, path, depth): continue
            case .array where (a.items.most ?? .max) < b.items.least: continue
            case .array where a.items.least > b.items.most ?? .max: continue
            case .string where b.literals != nil && a.patterns.isEmpty && a.formats.isEmpty:
                return false
            case .string where (a.lengths.most ?? .max) < b.lengths.least: continue
            case .string where a.lengths.least > b.lengths.most ?? .max: continue
            case .integer, .number:
                var both = a.range
                both.narrow(b.range)
                let isApart = (both.low ?? -.infinity) > both.high ?? .infinity
                let touches = both.low == both.high && (both.excludesLow || both.excludesHigh)
                if isApart || both.low != nil && touches { continue }
                return false
            default: return false
            }
        }
        return true
    }

    private mutating func excludesObjects(
        _ a: PlainSchema, from b: PlainSchema, _ path: SchemaPath, _ depth: Int
    ) throws -> Bool {
        guard b.literals == nil, depth < Self.exclusionDepth else { return b.literals != nil }
        let isOpen = a.isOpen
        let names = Set(a.objects.flatMap { $0.properties.map(\.key) } + a.required)
        try budget.spend(names.count * 4 + b.required.count)
        // What the other one requires and this one never has.
        if !isOpen, b.required.contains(where: { !names.contains($0) }) { return true }
        let always = Set(a.required)
        let theirs = Set(b.objects.flatMap { $0.properties.map(\.key) })
        let refuses = b.objects.contains { $0.additional?.bool == false && $0.patterns.isEmpty }
        if refuses, a.required.contains(where: { !theirs.contains($0) }) { return true }
        // A member that one of them requires, and whose values differ.
        for name in always.union(b.required).sorted() where names.contains(name) {
            let (ours, others) = (a.schemas(of: name), b.schemas(of: name))
            guard !ours.isEmpty, !others.isEmpty else { continue }
            var (left, right) = ([PlainSchema()], [PlainSchema()])
            for schema in ours { left = try product(left, plains(schema, path), path) }
            for schema in others { right = try product(right, plains(schema, path), path) }
            var isApart = true
            for a in left where isApart {
                for b in right where isApart {
                    isApart = try excludes(a, from: b, path, depth + 1)
                }
            }
            if isApart { return true }
        }
        return false
    }
}

extension PlainSchema {
    /// The schemas that its parts declare for a member.
    fileprivate func schemas(of name: String) -> [JSONValue] {
        objects.compactMap { part in part.places[name].map { part.properties[$0].value } }
    }
}
