import Encoding

/// Functions in the notation by which the tokenizer of Kimi-K2.5 declares them, its oddities
/// included: a description is a comment, an object's members stand by name, those that are required
/// first.
enum InterfaceText {
    /// A schema that the notation cannot hold.
    struct Unsupported: Error {}

    /// What the template is given: all tools in the notation, or all of them as JSON where one does
    /// not fit.
    static func declaration(_ tools: [ToolDeclaration]) -> String {
        do {
            let functions = try tools.map { try function($0.value.sortedByKey) }
            return "# Tools\n\n## functions\nnamespace functions {\n"
                + functions.joined(separator: "\n") + "\n}\n"
        } catch { return tools.sortedText }
    }

    private static func function(_ tool: JSONValue) throws -> String {
        let parameters = tool["parameters"]
        var reader = InterfaceReader()
        let root = try reader.object(
            TypeScriptText.isTrue(parameters) ? parameters ?? .null : [:])
        let refersToItself = reader.refersToItself
        var parts: [String] = []
        if refersToItself {
            // The members stand as the schema has them.
            let members = root.members.map { text($0, indent) }.joined(separator: ",\n")
            parts.append("interface parameters {" + (members.isEmpty ? "" : "\n\(members)\n") + "}")
        }
        for (name, schema) in reader.definitions {
            let type = try reader.type(schema)
            let note = type.note.isEmpty ? "" : comment(type.note, "") + "\n"
            parts.append(note + "interface \(name) " + text(type, ""))
        }
        let note = try InterfaceReader.note(tool)
        if !note.isEmpty { parts.append(comment(note, "")) }
        let argument = refersToItself ? "parameters" : text(root, "")
        parts.append("type \(tool["name"]?.string ?? "function") = (_: \(argument)) => any;")
        return parts.joined(separator: "\n")
    }

    private static let indent = "  "

    /// The type itself, without its comments.
    private static func text(_ type: InterfaceType, _ indent: String) -> String {
        switch type.kind {
        case .word(let word): return word
        case .choice(let types):
            return types.map { text($0, indent) }.joined(separator: " | ")
        case .list(let item):
            let inner = indent + Self.indent
            let notes = notes(item, inner)
            guard !notes.isEmpty else { return "Array<\(text(item, indent))>" }
            return "Array<\n\(notes)\(inner)\(text(item, inner))\n\(indent)>"
        case .object(let members, let others):
            let inner = indent + Self.indent
            // The members have the order of their keys already.
            var lines = (members.filter(\.isRequired) + members.filter { !$0.isRequired })
                .map { text($0, inner) }
            if let others { lines.append("\(inner)[k: string]: \(text(others, inner))") }
            return lines.isEmpty
                ? "{}" : "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
        }
    }

    private static func text(_ member: InterfaceType.Member, _ indent: String) -> String {
        let preset = member.preset.map { "\(indent)// Default: \($0)\n" } ?? ""
        return notes(member.type, indent) + preset + indent + member.name
            + (member.isRequired ? "" : "?") + ": " + text(member.type, indent)
    }

    private static func notes(_ type: InterfaceType, _ indent: String) -> String {
        let limits = type.limits.map { "\($0.key): \($0.value.pythonText)" }
        return (type.note.isEmpty ? "" : comment(type.note, indent) + "\n")
            + (limits.isEmpty ? "" : "\(indent)// " + limits.joined(separator: ", ") + "\n")
    }

    private static func comment(_ text: String, _ indent: String) -> String {
        // A carriage return and a line feed are one character.
        text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.isEmpty ? "" : "\(indent)// \(String($0))" }.joined(separator: "\n")
    }
}

/// A schema as far as the notation shows it.
struct InterfaceType {
    indirect enum Kind {
        case word(String)
        case choice([InterfaceType])
        case list(InterfaceType)
        /// - Parameter others: What other members may be.
        case object([Member], others: InterfaceType?)
    }

    struct Member {
        var name: String
        var type: InterfaceType
        var isRequired: Bool
        /// The value that stands for one that is missing, as Python writes it.
        var preset: String?
    }

    var kind: Kind
    /// The description.
    var note = ""
    /// Lengths, bounds and patterns, by key.
    var limits: [(key: String, value: JSONValue)] = []

    /// The members of an object.
    var members: [Member] { if case .object(let members, _) = kind { members } else { [] } }
}

/// Reads the schemas of one function, whose objects have their keys in order.
struct InterfaceReader {
    private(set) var definitions: [(name: String, schema: JSONValue)] = []
    private(set) var refersToItself = false
    /// Where each definition stands: a request may have thousands.
    private var places: [String: Int] = [:]

    static func note(_ schema: JSONValue) throws -> String {
        guard let note = schema["description"], TypeScriptText.isTrue(note) else { return "" }
        guard let text = note.string else { throw InterfaceText.Unsupported() }
        return text
    }

    mutating func type(_ schema: JSONValue) throws -> InterfaceType {
        if let flag = schema.bool { return InterfaceType(kind: .word(flag ? "any" : "null")) }
        guard let members = schema.object else { throw InterfaceText.Unsupported() }
        let note = try Self.note(schema)
        if let place = schema["$ref"] {
            return InterfaceType(kind: .word(try reference(place)), note: note)
        }
        if let variants = schema["anyOf"] {
            guard let variants = variants.array else { throw InterfaceText.Unsupported() }
            return InterfaceType(kind: .choice(try variants.map { try type($0) }), note: note)
        }
        if let values = schema["enum"] {
            guard let values = values.array else { throw InterfaceText.Unsupported() }
            try Self.check(values, against: schema["type"])
            let words = values.map { $0.string.map { "\"\($0)\"" } ?? $0.pythonText }
            return InterfaceType(kind: .word(words.joined(separator: " | ")), note: note)
        }
        guard let kind = schema["type"] else {
            guard members.isEmpty else { throw InterfaceText.Unsupported() }
            return InterfaceType(kind: .word("any"))
        }
        if let kinds = kind.array {
            let words = try kinds.map { kind in
                guard let word = kind.string.flatMap({ Self.words[$0] }) else {
                    throw InterfaceText.Unsupported()
                }
                return word
            }
            return InterfaceType(kind: .word(words.joined(separator: " | ")), note: note)
        }
        switch kind.string {
        case nil: throw InterfaceText.Unsupported()
        case "object": return try object(schema)
        case "array":
            let items = schema["items"].flatMap { TypeScriptText.isTrue($0) ? $0 : nil }
            let item = try items.map { try type($0) } ?? InterfaceType(kind: .word("any"))
            return InterfaceType(
                kind: .list(item), note: note,
                limits: Self.limits(schema, ["maxItems", "minItems"]))
        case "string":
            return InterfaceType(
                kind: .word("string"), note: note,
                limits: Self.limits(schema, ["maxLength", "minLength", "pattern"]))
        case "number", "integer":
            return InterfaceType(
                kind: .word("number"), note: note,
                limits: Self.limits(schema, ["maximum", "minimum"]))
        case let word?: return InterfaceType(kind: .word(word), note: note)
        }
    }

    /// An object's members; a schema without any other word is one, too.
    mutating func object(_ schema: JSONValue) throws -> InterfaceType {
        guard schema.object != nil else { throw InterfaceText.Unsupported() }
        let note = try Self.note(schema)
        if let found = schema["$defs"], TypeScriptText.isTrue(found) {
            guard let found = found.object else { throw InterfaceText.Unsupported() }
            for (name, schema) in found { define(name, schema) }
        }
        let others: InterfaceType?
        switch schema["additionalProperties"] {
        case nil, .null: others = nil
        case .object?: others = try schema["additionalProperties"].map { try type($0) }
        case .bool(let may)?: others = InterfaceType(kind: .word(may ? "any" : "never"))
        default: throw InterfaceText.Unsupported()
        }
        guard let properties = schema["properties"] else {
            return InterfaceType(kind: .object([], others: others), note: note)
        }
        guard let properties = properties.object else { throw InterfaceText.Unsupported() }
        let names = schema["required"] ?? []
        guard let names = names.array else { throw InterfaceText.Unsupported() }
        let required = Set(names.compactMap(\.string))
        let members = try properties.map { name, schema in
            InterfaceType.Member(
                name: name, type: try type(schema), isRequired: required.contains(name),
                preset: Self.preset(schema["default"]))
        }
        return InterfaceType(kind: .object(members, others: others), note: note)
    }

    private mutating func define(_ name: String, _ schema: JSONValue) {
        if let place = places[name] {
            definitions[place].schema = schema
        } else {
            places[name] = definitions.count
            definitions.append((name, schema))
        }
    }

    private mutating func reference(_ place: JSONValue) throws -> String {
        let begin = "#/$defs/"
        guard let place = place.string else { throw InterfaceText.Unsupported() }
        if place == "#" {
            refersToItself = true
            return "parameters"
        }
        guard place.utf8.starts(with: begin.utf8),
            let name = place.split(separator: "/", omittingEmptySubsequences: false).last,
            let found = places[String(name)], definitions[found].schema.object != nil
        else { throw InterfaceText.Unsupported() }
        return String(name)
    }

    private static func preset(_ value: JSONValue?) -> String? {
        switch value {
        case nil, .null: nil
        case .bool?, .number?: value?.pythonText
        default: value?.spacedText
        }
    }

    private static func limits(
        _ schema: JSONValue, _ keys: [String]
    ) -> [(key: String, value: JSONValue)] {
        keys.compactMap { key in schema[key].map { (key, $0) } }
    }

    /// Whether the values of a choice are of the type that stands beside it.
    private static func check(_ values: [JSONValue], against type: JSONValue?) throws {
        guard let type else { return }
        var kind = type
        if let kinds = type.array {
            let others = kinds.filter { $0 != "null" }
            guard kinds.count == 1 || kinds.count == 2 && others.count < 2 else {
                throw InterfaceText.Unsupported()
            }
            kind = kinds.count == 1 ? kinds[0] : others.first ?? "null"
        }
        let fits = values.allSatisfy { value in
            switch (kind.string, value) {
            case (_, .null): true
            case ("string", .string), ("boolean", .bool), ("number", .number): true
            case ("number", .bool), ("integer", .bool): true
            case ("integer", .number(let text)): !text.utf8.contains { ".eE".utf8.contains($0) }
            case ("string", _), ("boolean", _), ("number", _), ("integer", _): false
            default: true
            }
        }
        guard fits else { throw InterfaceText.Unsupported() }
    }

    private static let words = [
        "string": "string", "number": "number", "integer": "number", "boolean": "boolean",
        "null": "null", "object": "{}", "array": "Array<any>",
    ]
}
