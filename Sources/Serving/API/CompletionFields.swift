import Encoding

/// What only a completion request has.
struct CompletionFields: Sendable {
    /// A prompt as text, or as tokens already.
    enum Prompt: Hashable, Sendable {
        case text(String)
        case tokens([Int])
    }

    var prompts: [Prompt]
    /// Whether the answer repeats the prompt.
    var echoes: Bool
    /// Alternatives to report with each token.
    var topLogprobs: Int?
    var addsSpecialTokens: Bool

    init(_ body: JSONValue) {
        echoes = body["echo"]?.bool ?? false
        topLogprobs = body["logprobs"]?.integer
        addsSpecialTokens = body["add_special_tokens"]?.bool ?? true
        switch body["prompt"] {
        case .string(let text): prompts = [.text(text)]
        case .array(let values) where values.first?.string != nil:
            prompts = values.map { .text($0.string ?? "") }
        case .array(let values) where values.first?.array != nil:
            prompts = values.map { .tokens(($0.array ?? []).compactMap(\.integer)) }
        case .array(let values): prompts = [.tokens(values.compactMap(\.integer))]
        default: prompts = []
        }
    }
}
