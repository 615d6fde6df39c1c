/// What the generated text must be.
public enum OutputConstraint: Codable, Hashable, Sendable {
    /// Any JSON object.
    case jsonObject
    /// A JSON document that satisfies this JSON Schema, itself JSON text.
    case jsonSchema(String)
    /// One of these strings.
    case choice([String])
}

extension OutputConstraint {}
