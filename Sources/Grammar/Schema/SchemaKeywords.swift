import Encoding

/// The types of JSON Schema.
enum SchemaType: String, CaseIterable {
    case null, boolean, integer, number, string, array, object
}

/// What is done with each keyword of a schema.
enum SchemaKeywords {
    /// Keywords that say nothing about which documents are valid, or that others refer to.
    static let annotations: Set<String> = [
        "$schema", "$id", "id", "$anchor", "$vocabulary", "$defs", "definitions", "$comment",
        "title", "description", "default", "examples", "example", "deprecated", "readOnly",
        "writeOnly", "discriminator", "strict", "name", "contentEncoding", "contentMediaType",
        "contentSchema", "enumNames", "enumDescriptions", "markdownDescription", "errorMessage",
        "externalDocs", "xml", "propertyOrdering",
    ]

    /// Keywords that are honoured.
    static let honoured: Set<String> = Set(ofType.keys).union([
        "$ref", "allOf", "anyOf", "oneOf", "const", "enum", "type", "nullable", "not",
    ])

    /// Keywords that speak of documents of one type.
    static let ofType: [String: SchemaType] = [
        "properties": .object, "required": .object, "additionalProperties": .object,
        "patternProperties": .object, "propertyNames": .object, "minProperties": .object,
        "maxProperties": .object, "unevaluatedProperties": .object,
        "items": .array, "prefixItems": .array, "additionalItems": .array, "minItems": .array,
        "maxItems": .array, "uniqueItems": .array, "unevaluatedItems": .array,
        "minLength": .string, "maxLength": .string, "pattern": .string, "format": .string,
        "minimum": .number, "maximum": .number, "exclusiveMinimum": .number,
        "exclusiveMaximum": .number, "multipleOf": .number,
    ]

    /// The members of a schema that say something about documents.
    ///
    /// - Throws: `SchemaCompiler.Fault` for a keyword that would be passed over: nothing is
    ///   silently weaker than asked.
    static func spoken(
        _ members: [(key: String, value: JSONValue)], at path: SchemaPath
    ) throws -> [(key: String, value: JSONValue)] {
        let spoken = members.filter { !annotations.contains($0.key) && !$0.key.hasPrefix("x-") }
        if let unknown = spoken.first(where: { !honoured.contains($0.key) }) {
            throw SchemaCompiler.Fault(
                path, "the keyword \(unknown.key.printable()) is not supported")
        }
        return spoken
    }
}
