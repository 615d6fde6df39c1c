import Encoding

/// Which of a schema's keywords say what it allows, once nothing among them would be passed over.
struct SchemaKeywords {
    /// What decides about the documents.
    enum Use: Hashable {
        case reference
        /// `anyOf` or `oneOf`.
        case combination(String)
        /// `allOf`, with whatever stands beside it.
        case all
        case constant
        case enumeration
        /// `type`, or `properties` or `items` that imply it.
        case types
        case anything
    }

    let use: Use

    /// Keywords that say nothing about which documents are valid, or that others refer to.
    private static let silent: Set<String> = [
        "$schema", "$id", "$defs", "definitions", "$comment", "title", "description", "default",
        "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "strict", "nullable",
        "name",
    ]
    /// Keywords that restrict documents of some type.
    private static let ofTypes: Set<String> = [
        "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
        "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "pattern",
    ]
    private static let combinations = ["anyOf", "oneOf", "allOf"]

    /// - Throws: `SchemaCompiler.Fault` for a keyword that is not known, or that would restrict
    ///   documents beside one that already decides: nothing is silently weaker than asked.
    init(_ keys: [String], path: String) throws(SchemaCompiler.Fault) {
        let spoken = keys.filter { !Self.silent.contains($0) }
        let known = Self.ofTypes.union(Self.combinations).union(["$ref", "const", "enum"])
        if let unknown = spoken.first(where: { !known.contains($0) }) {
            throw .init(path: path, reason: "the keyword \(unknown) is not supported")
        }
        let deciding = ["$ref"] + Self.combinations + ["const", "enum"]
        guard let first = deciding.first(where: spoken.contains) else {
            let implies = ["type", "properties", "items"].contains(where: spoken.contains)
            if !implies, let lost = spoken.first {
                throw .init(path: path, reason: "\(lost) without type is not supported")
            }
            use = implies ? .types : .anything
            return
        }
        if spoken.contains("allOf") {
            use = .all
            return
        }
        let isLiteral = first == "const" || first == "enum"
        let allowed: Set<String> = isLiteral ? [first, "type"] : [first]
        if let lost = spoken.first(where: { !allowed.contains($0) }) {
            throw .init(path: path, reason: "\(lost) beside \(first) is not supported")
        }
        switch first {
        case "$ref": use = .reference
        case "const": use = .constant
        case "enum": use = .enumeration
        default: use = .combination(first)
        }
    }
}

extension JSONValue {
    /// Whether the value is of a type as JSON Schema names it.
    func isOfType(_ name: String) -> Bool {
        switch (name, self) {
        case ("null", .null), ("boolean", .bool), ("number", .number), ("string", .string),
            ("array", .array), ("object", .object):
            true
        case ("integer", .number): double.map { $0 == $0.rounded() } ?? false
        default: false
        }
    }
}
