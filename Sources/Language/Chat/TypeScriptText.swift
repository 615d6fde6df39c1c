import Encoding

/// Functions in the notation by which gpt-oss's template declares them, its oddities included.
enum TypeScriptText {
    /// One function, and the empty line after it.
    static func declaration(_ tool: ToolDeclaration) -> String {
        let value = tool.value
        let description = value["description"].map { "// \($0.pythonText)\n" } ?? ""
        let head = description + "type \(tool.name) = "
        let parameters = value["parameters"]
        guard let properties = parameters?["properties"]?.object, !properties.isEmpty else {
            return head + "() => any;\n\n"
        }
        let required = names(parameters?["required"])
        let members = properties.map { key, schema in
            let note = schema["description"].flatMap { isTrue($0) ? $0 : nil }
            return (note.map { "// \($0.pythonText)\n" } ?? "") + key
                + (required.contains(key) ? "" : "?") + ": " + type(schema)
                + defaultNote(schema) + ",\n"
        }
        return head + "(_: {\n" + members.joined() + "}) => any;\n\n"
    }

    private static func defaultNote(_ schema: JSONValue) -> String {
        guard let value = schema["default"] else { return "" }
        if isTrue(schema["enum"]) { return ", // default: " + value.pythonText }
        if isTrue(schema["oneOf"]) { return "// default: " + value.pythonText }
        return ", // default: " + value.spacedText
    }

    /// The type of a schema.
    static func type(_ schema: JSONValue) -> String {
        let orNull = isTrue(schema["nullable"]) ? " | null" : ""
        let kind = schema["type"]
        if kind?.string == "array" { return items(schema["items"]) + orNull }
        if let kinds = kind?.array, !kinds.isEmpty {
            return kinds.map(\.pythonText).joined(separator: " | ")
        }
        if let variants = schema["oneOf"]?.array, !variants.isEmpty {
            return variants.map(variant).joined(separator: " | \n")
        }
        switch kind?.string {
        case "string":
            guard let words = schema["enum"]?.array, !words.isEmpty else {
                return "string" + orNull
            }
            return "\"" + words.map(\.pythonText).joined(separator: "\" | \"") + "\""
        case "number", "integer": return "number"
        case "boolean": return "boolean"
        case "object":
            guard let properties = schema["properties"]?.object, !properties.isEmpty else {
                return "object"
            }
            let required = names(schema["required"])
            let members = properties.map { key, value in
                key + (required.contains(key) ? "" : "?") + ": \n" + spaces(16) + type(value)
            }
            return "{\n" + members.joined(separator: ", ") + "}"
        default: return "any"
        }
    }

    private static func variant(_ schema: JSONValue) -> String {
        let note = schema["description"].flatMap { isTrue($0) ? "// " + $0.pythonText : nil }
        let value = schema["default"].map { spaces(20) + "// default: " + $0.spacedText }
        return type(schema) + (note ?? "") + (value ?? "")
    }

    private static func items(_ schema: JSONValue?) -> String {
        guard let schema, isTrue(schema) else { return "any[]" }
        switch schema["type"]?.string {
        case "string": return "string[]"
        case "number", "integer": return "number[]"
        case "boolean": return "boolean[]"
        default:
            let inner = type(schema)
            let isLong = inner == "object | object" || inner.unicodeScalars.count > 50
            return (isLong ? "any" : inner) + "[]"
        }
    }

    private static func names(_ list: JSONValue?) -> [String] {
        (list?.array ?? []).compactMap(\.string)
    }

    private static func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }

    /// Whether Python takes a value for true.
    static func isTrue(_ value: JSONValue?) -> Bool {
        switch value {
        case nil, .null: false
        case .bool(let flag): flag
        case .number(let text): Double(text) != 0
        case .string(let text): !text.isEmpty
        case .array(let values): !values.isEmpty
        case .object(let members): !members.isEmpty
        }
    }
}
