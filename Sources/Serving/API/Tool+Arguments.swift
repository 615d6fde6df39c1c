import Encoding
import Language

extension Tool {
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
