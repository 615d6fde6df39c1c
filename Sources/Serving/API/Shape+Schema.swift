import Encoding

extension Shape {
    /// Strings that may be longer than this are bounded by the body, and the schema does not say.
    private static let longestStated = 1 << 16

    /// The shape as JSON Schema, 2020-12.
    var schema: JSONValue {
        switch self {
        case .any: return [:]
        case .null: return ["type": "null"]
        case .boolean: return ["type": "boolean"]
        case .integer(let range):
            return [
                "type": "integer", "minimum": .number(range.lowerBound),
                "maximum": .number(range.upperBound),
            ]
        case .number(let range):
            return [
                "type": "number", "minimum": .number(range.lowerBound),
                "maximum": .number(range.upperBound),
            ]
        case .string(let range):
            var members: [(key: String, value: JSONValue)] = [("type", "string")]
            if range.lowerBound > 0 { members.append(("minLength", .number(range.lowerBound))) }
            if range.upperBound <= Self.longestStated {
                members.append(("maxLength", .number(range.upperBound)))
            }
            return .object(members)
        case .enumeration(let names):
            return ["type": "string", "enum": .array(names.map { .string($0) })]
        case .array(let element, let range):
            return [
                "type": "array", "items": element.schema, "minItems": .number(range.lowerBound),
                "maxItems": .number(range.upperBound),
            ]
        case .object(let fields): return .object(Self.members(fields, isOpen: false))
        case .open(let fields): return .object(Self.members(fields, isOpen: true))
        case .tagged(let name, let options, let otherwise):
            let schemas = options.map { option in
                let tag = Field(name, .enumeration([option.tag]), required: true)
                return Shape.object([tag] + option.fields).schema
            }
            let other = otherwise.map { [Shape.object($0).schema] } ?? []
            return ["anyOf": .array(schemas + other)]
        case .only(let values, let reason):
            return ["enum": .array(values), "description": .string(reason)]
        case .map(let element, let limit, let keyLength):
            return [
                "type": "object", "additionalProperties": element.schema,
                "maxProperties": .number(limit), "propertyNames": ["maxLength": .number(keyLength)],
            ]
        case .either(let shapes): return ["anyOf": .array(shapes.map(\.schema))]
        }
    }

    private static func members(
        _ fields: [Field], isOpen: Bool
    ) -> [(key: String, value: JSONValue)] {
        var members: [(key: String, value: JSONValue)] = [
            ("type", "object"),
            ("properties", .object(fields.map { ($0.name, $0.schema) })),
        ]
        let required = fields.filter(\.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { members.append(("required", .array(required))) }
        if !isOpen { members.append(("additionalProperties", false)) }
        return members
    }
}

extension Shape.Field {
    fileprivate var schema: JSONValue {
        guard let note, case .object(let members) = shape.schema else { return shape.schema }
        return .object(members + [("description", .string(note))])
    }
}
