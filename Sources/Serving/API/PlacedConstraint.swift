import Encoding
import Grammar

/// What a text must be, and the member of the request that says so.
struct PlacedConstraint: Hashable, Sendable {
    var constraint: OutputConstraint
    /// For errors about it.
    var place: String

    /// The constraint of a request; nil for free text.
    ///
    /// - Throws: 400 where two members each ask for one.
    static func read(_ body: JSONValue) throws(APIError) -> PlacedConstraint? {
        let structured = body["structured_outputs"]
        let candidates = [
            format(body["response_format"]),
            json(structured?["json"], "structured_outputs.json"),
            choice(structured?["choice"], "structured_outputs.choice"),
            regex(structured?["regex"], "structured_outputs.regex"),
            structured?["json_object"]?.bool == true
                ? PlacedConstraint(
                    constraint: .jsonObject, place: "structured_outputs.json_object") : nil,
            json(body["guided_json"], "guided_json"),
            choice(body["guided_choice"], "guided_choice"),
            regex(body["guided_regex"], "guided_regex"),
        ].compactMap { $0 }
        guard candidates.count < 2 else {
            throw .invalid(
                "\(candidates[0].place) and \(candidates[1].place) are both given: a text "
                    + "follows one of them",
                parameter: candidates[1].place)
        }
        return candidates.first
    }

    private static func json(_ schema: JSONValue?, _ place: String) -> PlacedConstraint? {
        guard let schema, !schema.isNull else { return nil }
        return PlacedConstraint(
            constraint: .jsonSchema(schema.string ?? schema.text), place: place)
    }

    private static func choice(_ texts: JSONValue?, _ place: String) -> PlacedConstraint? {
        guard let texts = texts?.array else { return nil }
        return PlacedConstraint(constraint: .choice(texts.compactMap(\.string)), place: place)
    }

    private static func regex(_ text: JSONValue?, _ place: String) -> PlacedConstraint? {
        guard let text = text?.string else { return nil }
        return PlacedConstraint(constraint: .regex(text), place: place)
    }

    private static func format(_ format: JSONValue?) -> PlacedConstraint? {
        switch format?["type"]?.string {
        case "json_object":
            // Some servers take a schema here.
            json(format?["schema"], "response_format.schema")
                ?? PlacedConstraint(constraint: .jsonObject, place: "response_format")
        case "json_schema":
            json(format?["json_schema"]?["schema"], "response_format.json_schema.schema")
        default: nil
        }
    }
}
