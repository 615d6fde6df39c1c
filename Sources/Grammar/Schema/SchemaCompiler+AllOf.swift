import Encoding

extension SchemaCompiler {
    /// One schema that asks what all schemas of `allOf` ask together, and those beside it.
    ///
    /// Types, properties, required names, items, bounds and `enum` are merged; what cannot be, such
    /// as two patterns, or `const` beside `enum`, is refused by name.
    mutating func allOf(_ schema: JSONValue, path: String) throws(Fault) -> JSONValue {
        var parts: [JSONValue] = []
        try gather(schema, path: path, depth: 0, into: &parts)
        guard var merged = parts.first else { return .bool(true) }
        for part in parts.dropFirst() { merged = try merge(merged, part, path: path) }
        return merged
    }

    /// The reference in an `allOf` that asks for nothing else.
    static func onlyReference(_ members: [(key: String, value: JSONValue)]) -> JSONValue? {
        let rest = members.filter { !annotations.contains($0.key) }
        guard rest.count == 1, rest[0].key == "allOf", let parts = rest[0].value.array,
            parts.count == 1, let part = parts[0].object, part.count == 1, part[0].key == "$ref"
        else { return nil }
        return part[0].value
    }

    /// The plain schemas that a schema asks all of: references followed, `allOf` taken apart.
    private mutating func gather(
        _ schema: JSONValue, path: String, depth: Int, into parts: inout [JSONValue]
    ) throws(Fault) {
        guard depth <= Self.depthLimit else {
            throw Fault(path: path, reason: "allOf nested deeper than \(Self.depthLimit)")
        }
        // References that lead to each other twice would be followed 2^depth times.
        try count(1, path: path)
        if schema.bool == true { return }
        guard let members = schema.object else {
            throw Fault(path: path, reason: "\(schema.kind) where a schema should be")
        }
        if let reference = schema["$ref"] {
            _ = try SchemaKeywords(members.map(\.key), path: path)
            let target = try target(of: reference, path: path).schema
            try gather(target, path: path, depth: depth + 1, into: &parts)
        }
        if let all = schema["allOf"] {
            guard let all = all.array, !all.isEmpty else {
                throw Fault(path: path, reason: "allOf needs a non-empty array")
            }
            for part in all { try gather(part, path: path, depth: depth + 1, into: &parts) }
        }
        var rest = members.filter {
            !["allOf", "$ref"].contains($0.key) && !Self.annotations.contains($0.key)
        }
        if let place = rest.firstIndex(where: { $0.key == "nullable" }) {
            let isNullable = rest.remove(at: place).value.bool == true
            if isNullable, let type = rest.firstIndex(where: { $0.key == "type" }) {
                let types = rest[type].value.array ?? [rest[type].value]
                rest[type].value = .array(types + ["null"])
            }
        }
        if !rest.isEmpty { parts.append(.object(rest)) }
    }

    /// Keywords without a say in which documents are valid.
    private static let annotations: Set<String> = [
        "$schema", "$id", "$defs", "definitions", "$comment", "title", "description", "default",
        "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "strict", "name",
    ]

    private func merge(
        _ a: JSONValue, _ b: JSONValue, path: String
    ) throws(Fault) -> JSONValue {
        var members = a.object ?? []
        for (key, theirs) in b.object ?? [] {
            guard let place = members.firstIndex(where: { $0.key == key }) else {
                members.append((key, theirs))
                continue
            }
            let ours = members[place].value
            members[place].value = try merge(key, ours, theirs, path: path)
        }
        let result = JSONValue.object(members)
        guard result["properties"] != nil else { return result }
        return try closed(result, a, b, path: path)
    }

    private func merge(
        _ key: String, _ ours: JSONValue, _ theirs: JSONValue, path: String
    ) throws(Fault) -> JSONValue {
        if ours == theirs { return ours }
        switch key {
        case "minimum", "exclusiveMinimum", "minLength", "minItems", "maximum",
            "exclusiveMaximum", "maxLength", "maxItems":
            guard let left = ours.double, let right = theirs.double else {
                throw Fault(path: path, reason: "\(key) must be a number")
            }
            let isLeast = key.hasPrefix("min") || key == "exclusiveMinimum"
            return (left > right) == isLeast ? ours : theirs
        case "required":
            let names = ours.array ?? []
            return .array(names + (theirs.array ?? []).filter { !names.contains($0) })
        case "items": return ["allOf": .array([ours, theirs])]
        case "properties":
            var members = ours.object ?? []
            for (name, schema) in theirs.object ?? [] {
                if let place = members.firstIndex(where: { $0.key == name }) {
                    members[place].value = ["allOf": .array([members[place].value, schema])]
                } else {
                    members.append((name, schema))
                }
            }
            return .object(members)
        case "type", "enum":
            let (left, right) = (ours.array ?? [ours], theirs.array ?? [theirs])
            var both = left.filter { right.contains($0) }
            // An integer is a number.
            for (some, others) in [(left, right), (right, left)]
            where key == "type" && some.contains("integer") && others.contains("number") {
                if !both.contains("integer") { both.append("integer") }
            }
            guard !both.isEmpty else {
                throw Fault(path: path, reason: "allOf asks for \(key)s that exclude each other")
            }
            return .array(both)
        case "additionalProperties" where ours.bool != nil && theirs.bool != nil:
            return .bool(false)
        default: throw Fault(path: path, reason: "allOf with two different \(key)")
        }
    }

    /// Asks of each property what a part that does not name it says of additional ones.
    private func closed(
        _ merged: JSONValue, _ a: JSONValue, _ b: JSONValue, path: String
    ) throws(Fault) -> JSONValue {
        var members = merged.object ?? []
        guard let place = members.firstIndex(where: { $0.key == "properties" }) else {
            return merged
        }
        var properties: [(key: String, value: JSONValue)] = []
        for property in members[place].value.object ?? [] {
            var schemas = [property.value]
            var isAllowed = true
            for part in [a, b] where part["properties"]?[property.key] == nil {
                guard let rest = part["additionalProperties"] else { continue }
                if rest.bool == false { isAllowed = false }
                if rest.bool == nil { schemas.append(rest) }
            }
            guard isAllowed else { continue }
            let value = schemas.count == 1 ? property.value : ["allOf": .array(schemas)]
            properties.append((property.key, value))
        }
        members[place].value = .object(properties)
        return .object(members)
    }
}
