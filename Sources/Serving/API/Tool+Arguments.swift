import Encoding
import Grammar
import Language

extension Tool {
    /// One argument, where values are written without quotes.
    struct Member {
        var name: String
        var kind: ArgumentKind
        /// The texts that it may be; of none, any.
        var words: [String] = []
        /// What it must be where it is JSON; nil sets no rule.
        var json: OutputConstraint?
        var isRequired = false
    }

    /// Bytes that the schemas of all members may have together.
    private static let memberBytes = OutputConstraint.textLimit

    /// The arguments that the schema declares, in its order, each with what its value must be.
    ///
    /// - Returns: Nil where they would have more bytes than a constraint may.
    var members: [Member]? {
        guard let schema = schemaValue, let properties = schema["properties"]?.object else {
            return []
        }
        let definitions = SchemaDefinitions(schema)
        let required = Set((schema["required"]?.array ?? []).compactMap(\.string))
        // Where two members have one name, the last one says what it is.
        let kinds = argumentKinds
        var bytes = 0
        var members: [Member] = []
        for (name, value) in properties {
            var member = Member(name: name, kind: kinds[name] ?? .open)
            member.isRequired = required.contains(name)
            if member.kind != .json { member.words = Self.words(value, definitions) }
            let isRuled = member.kind == .json || member.kind == .open && !member.words.isEmpty
            // A reference beyond the definitions names a part of the whole schema.
            if isRuled, let reached = definitions.reached(from: value) {
                let text = JSONValue.object((value.object ?? []) + reached).text
                bytes += text.utf8.count
                guard bytes <= Self.memberBytes else { return nil }
                member.json = .jsonSchema(text)
            } else if member.kind == .open {
                member.words = []
            }
            members.append(member)
        }
        return members
    }

    /// The names of the arguments, and the texts that each may be; none where it may be any.
    var texts: [(name: String, words: [String])] {
        guard let schema = schemaValue else { return [] }
        let definitions = SchemaDefinitions(schema)
        return (schema["properties"]?.object ?? []).map { name, value in
            let isJSON = Self.kind(value, definitions) == .json
            return (name, isJSON ? [] : Self.words(value, definitions))
        }
    }

    /// Whether a call has no arguments.
    var takesNothing: Bool { OutputConstraint.arguments(parameters) == .text("{}") }

    private var schemaValue: JSONValue? {
        guard let parameters else { return nil }
        do { return try JSONValue.parse(parameters) } catch { return nil }
    }

    /// What each argument is, as far as the schema says it.
    var argumentKinds: [String: ArgumentKind] {
        guard let schema = schemaValue else { return [:] }
        let definitions = SchemaDefinitions(schema)
        let kinds = (schema["properties"]?.object ?? []).map {
            ($0.key, Self.kind($0.value, definitions))
        }
        return Dictionary(kinds) { _, last in last }
    }

    /// The values that a schema lists; nil where it lists none.
    private static func values(_ schema: JSONValue) -> [JSONValue]? {
        let values = schema["enum"]?.array ?? schema["const"].map { [$0] }
        return values?.isEmpty == true ? nil : values
    }

    /// Whether a schema allows nothing but null.
    private static func isNull(_ schema: JSONValue) -> Bool {
        schema["type"] == "null" || values(schema)?.allSatisfy(\.isNull) == true
    }

    /// The texts that a schema chooses from; none where it may be any text.
    private static func words(_ schema: JSONValue, _ definitions: SchemaDefinitions) -> [String] {
        let schema = definitions.resolved(schema)
        if let values = values(schema) { return values.compactMap(\.string) }
        var words: [String] = []
        for choice in (schema["anyOf"] ?? schema["oneOf"])?.array ?? [] {
            let choice = definitions.resolved(choice)
            if isNull(choice) || kind(ofChoice: choice, definitions) == .json { continue }
            guard let values = values(choice) else { return [] }
            words += values.compactMap(\.string).filter { !words.contains($0) }
        }
        return words
    }

    private static func kind(
        _ schema: JSONValue, _ definitions: SchemaDefinitions
    ) -> ArgumentKind {
        let resolved = definitions.resolved(schema)
        if let type = (schema["type"] ?? resolved["type"])?.string {
            return type == "string" ? .text : .json
        }
        if let choices = (resolved["anyOf"] ?? resolved["oneOf"])?.array {
            return kind(of: choices, definitions)
        }
        return kind(ofChoice: resolved, definitions)
    }

    /// What a schema allows without looking into alternatives.
    private static func kind(
        ofChoice schema: JSONValue, _ definitions: SchemaDefinitions
    ) -> ArgumentKind {
        let types =
            schema["type"]?.string.map { [$0] } ?? schema["type"]?.array?.compactMap(\.string)
        if let types, !types.contains("string") { return .json }
        if let values = values(schema) {
            let texts = values.count { $0.string != nil }
            if texts == 0 { return .json }
            if texts == values.count { return .text }
            if types == ["string"] { return .text }
            return texts + values.count(where: \.isNull) == values.count ? .textOrNull : .open
        }
        guard schema["anyOf"] == nil, schema["oneOf"] == nil else { return .open }
        switch types.map({ Set($0) }) {
        case ["string"]: return .text
        case ["string", "null"]: return .textOrNull
        case nil: return speaksOfJSON(schema) ? .json : .open
        default: return .open
        }
    }

    /// Whether a schema without a type speaks of objects or arrays, which then it means.
    private static func speaksOfJSON(_ schema: JSONValue) -> Bool {
        ["properties", "additionalProperties", "items", "prefixItems"].contains {
            schema[$0] != nil
        }
    }

    /// What any of several schemas allows, as pydantic writes an optional text.
    private static func kind(
        of choices: [JSONValue], _ definitions: SchemaDefinitions
    ) -> ArgumentKind {
        let others = choices.map { definitions.resolved($0) }.filter { !isNull($0) }
        let kinds = Set(others.map { kind(ofChoice: $0, definitions) })
        switch kinds {
        case [.text]: return others.count == choices.count ? .text : .textOrNull
        case [.textOrNull], [.text, .textOrNull]: return .textOrNull
        case [.json]: return .json
        default: return .open
        }
    }
}
