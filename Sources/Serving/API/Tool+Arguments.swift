import Encoding
import Grammar
import Language

extension Tool {
    /// One argument, where values are written without quotes.
    typealias Member = (
        name: String, kind: ArgumentKind, value: OutputConstraint?, isRequired: Bool
    )

    /// Bytes that the schemas of all members may have together.
    private static let memberBytes = OutputConstraint.textLimit

    /// The arguments that the schema declares, in its order, each with what its value must be; nil
    /// is any text.
    ///
    /// - Returns: Nil where they would have more bytes than a constraint may.
    var members: [Member]? {
        guard let schema = schemaValue, let properties = schema["properties"]?.object else {
            return []
        }
        let kinds = argumentKinds
        let required = Set((schema["required"]?.array ?? []).compactMap(\.string))
        let definitions = (schema.object ?? []).filter {
            ["$defs", "definitions"].contains($0.key)
        }
        let defined = JSONValue.object(definitions).text
        var bytes = 0
        var members: [Member] = []
        for (name, value) in properties {
            var wanted: OutputConstraint?
            switch kinds[name] {
            case .json:
                let text = value.text
                // A reference beyond the definitions names a part of the whole schema.
                let refers = text.contains("\"$ref\"")
                if refers, !Self.keepsToDefinitions(text) || !Self.keepsToDefinitions(defined) {
                    break
                }
                let whole = refers ? (value.object ?? []) + definitions : value.object ?? []
                bytes += text.utf8.count + (refers ? defined.utf8.count : 0)
                guard bytes <= Self.memberBytes else { return nil }
                wanted = .jsonSchema(JSONValue.object(whole).text)
            case .text:
                let words = Self.words(value)
                if !words.isEmpty { wanted = .choice(words) }
            case .textOrNull, .open, nil: break
            }
            members.append((name, kinds[name] ?? .open, wanted, required.contains(name)))
        }
        return members
    }

    /// The texts that a schema chooses from.
    private static func words(_ schema: JSONValue) -> [String] {
        (schema["enum"]?.array ?? schema["const"].map { [$0] } ?? []).compactMap(\.string)
    }

    /// The names of the arguments, and the texts that each may be; none where it may be any.
    var texts: [(name: String, words: [String])] {
        (schemaValue?["properties"]?.object ?? []).map { name, value in
            (name, Self.kind(value) == .text ? Self.words(value) : [])
        }
    }

    /// Whether every reference of a schema names a definition.
    private static func keepsToDefinitions(_ text: String) -> Bool {
        let marks = text.ranges(of: "\"$ref\":")
        let kept = ["\"#/$defs/", "\"#/definitions/"]
        return marks.allSatisfy { mark in
            kept.contains { text[mark.upperBound...].hasPrefix($0) }
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
        guard let parameters else { return [:] }
        let properties: [(key: String, value: JSONValue)]
        do { properties = try JSONValue.parse(parameters)["properties"]?.object ?? [] } catch {
            return [:]
        }
        return Dictionary(properties.map { ($0.key, Self.kind($0.value)) }) { _, last in last }
    }

    private static func kind(_ schema: JSONValue) -> ArgumentKind {
        if let choices = (schema["anyOf"] ?? schema["oneOf"])?.array { return kind(of: choices) }
        let types =
            schema["type"]?.string.map { [$0] } ?? schema["type"]?.array?.compactMap(\.string)
        switch types {
        case ["string"]: return .text
        case let types? where Set(types) == ["string", "null"]: return .textOrNull
        case let types? where !types.contains("string"): return .json
        case nil:
            let values = schema["enum"]?.array ?? schema["const"].map { [$0] } ?? []
            return !values.isEmpty && values.allSatisfy { $0.string != nil } ? .text : .open
        default: return .open
        }
    }

    /// What any of several schemas allows, as pydantic writes an optional text.
    private static func kind(of choices: [JSONValue]) -> ArgumentKind {
        let others = choices.filter { $0["type"] != "null" }
        let kinds = Set(others.map { choice in choice["anyOf"] == nil ? kind(choice) : .open })
        switch kinds {
        case [.text]: return others.count == choices.count ? .text : .textOrNull
        case [.textOrNull], [.text, .textOrNull]: return .textOrNull
        case [.json]: return .json
        default: return .open
        }
    }
}
