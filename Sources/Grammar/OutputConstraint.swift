/// What the generated text must be.
///
/// A constraint is a value that travels: schemas stay text, and each keeps its own root, so that
/// `#` and `#/$defs/...` mean the same alone and in a union.
public indirect enum OutputConstraint: Codable, Hashable, Sendable {
    /// Any JSON object.
    case jsonObject
    /// A JSON document that satisfies this JSON Schema, itself JSON text.
    case jsonSchema(String)
    /// An object that satisfies this JSON Schema, whatever else the schema allows.
    case objectSchema(String)
    /// One of these strings.
    case choice([String])
    /// A text that this regular expression matches whole.
    case regex(String)
    /// This text.
    case text(String)
    /// The token of a chat format at this place among the vocabulary's `markers`.
    case marker(Int)
    /// One after another.
    case sequence([OutputConstraint])
    /// One of several.
    case either([OutputConstraint])
    /// At least once, and at most as often as said; nil sets no limit.
    case repeated(OutputConstraint, atMost: Int?)
    /// A part that errors name, with the request's parameter that asks for it.
    case named(String, parameter: String, OutputConstraint)
}

extension OutputConstraint {
    /// Bytes that the texts of a constraint may have together.
    package static let textLimit = CompilationBudget.textLimit

    /// Tokens of a chat format that a constraint may hold: as many as there are bytes that no UTF-8
    /// text holds (0xC0, 0xC1, 0xF5 to 0xFF).
    package static let markerLimit = ByteSet.markers.count

    /// The arguments of a call of a tool with these parameters, a JSON Schema as text.
    ///
    /// A tool without parameters, or with none declared, takes `{}` and nothing else.
    public static func arguments(_ parameters: String?) -> OutputConstraint {
        guard let parameters else { return .text("{}") }
        return SchemaCompiler.declaresNothing(parameters) ? .text("{}") : .objectSchema(parameters)
    }

    /// The parameter of the request that an error about the whole constraint names.
    var parameter: String { firstParameter ?? "response_format" }

    private var firstParameter: String? {
        switch self {
        case .named(_, let parameter, _): parameter
        case .sequence(let parts), .either(let parts):
            parts.lazy.compactMap(\.firstParameter).first
        case .repeated(let part, _): part.firstParameter
        case .jsonObject, .jsonSchema, .objectSchema, .choice, .regex, .text, .marker: nil
        }
    }
}
