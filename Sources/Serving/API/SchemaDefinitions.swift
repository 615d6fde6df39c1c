import Encoding
import Foundation

/// The named parts of a tool's schema, which references lead to.
struct SchemaDefinitions {
    /// Where a definition stands: `#/GROUP/NAME`.
    private struct Place: Hashable {
        var group: String
        var name: String
    }

    private var targets: [Place: JSONValue] = [:]

    private static let groups = ["$defs", "definitions"]
    /// References one after another; a schema that leads to itself is followed so far.
    private static let stepLimit = 8

    /// - Parameter schema: The whole schema.
    init(_ schema: JSONValue) {
        for group in Self.groups {
            for (name, value) in schema[group]?.object ?? [] {
                targets[Place(group: group, name: name)] = value
            }
        }
    }

    /// The schema that a reference, or a lone part of `allOf`, stands for; itself where it says
    /// more, or where the reference leads elsewhere.
    func resolved(_ schema: JSONValue) -> JSONValue {
        var schema = schema
        for _ in 0 ..< Self.stepLimit {
            guard ["enum", "const", "anyOf", "oneOf"].allSatisfy({ schema[$0] == nil }) else {
                break
            }
            if let place = schema["$ref"]?.string.flatMap({ Self.place(of: $0, isExact: true) }),
                let target = targets[place]
            {
                schema = target
            } else if let parts = schema["allOf"]?.array, parts.count == 1 {
                schema = parts[0]
            } else {
                break
            }
        }
        return schema
    }

    /// The definitions that a schema leads to, as members of a schema; nil where one of its
    /// references leads elsewhere.
    func reached(from schema: JSONValue) -> [(key: String, value: JSONValue)]? {
        var open = Self.references(in: schema)
        var found: Set<Place> = []
        var members: [String: [(key: String, value: JSONValue)]] = [:]
        while let reference = open.popLast() {
            guard let place = Self.place(of: reference, isExact: false) else { return nil }
            guard found.insert(place).inserted, let target = targets[place] else { continue }
            members[place.group, default: []].append((place.name, target))
            open += Self.references(in: target)
        }
        return Self.groups.compactMap { group in
            members[group].map { found in
                (group, .object(found.sorted { $0.key < $1.key }))
            }
        }
    }

    private static func references(in value: JSONValue) -> [String] {
        switch value {
        case .array(let values): values.flatMap { references(in: $0) }
        case .object(let members):
            members.flatMap { key, value in
                key == "$ref"
                    ? value.string.map { [$0] } ?? references(in: value)
                    : references(in: value)
            }
        case .null, .bool, .number, .string: []
        }
    }

    /// - Parameter isExact: Whether the reference names a whole definition, not a part of one.
    private static func place(of reference: String, isExact: Bool) -> Place? {
        let parts = reference.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3 || parts.count > 3 && !isExact, parts[0] == "#",
            groups.contains(String(parts[1]))
        else { return nil }
        let name = (parts[2].removingPercentEncoding ?? String(parts[2]))
            .replacing("~1", with: "/").replacing("~0", with: "~")
        return Place(group: String(parts[1]), name: name)
    }
}
