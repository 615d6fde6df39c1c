import Encoding
import Language

/// Writes the answers of the OpenAI API.
struct AnswerWriter: Sendable {
    let id: String
    let model: String
    /// Seconds since 1970.
    let created: Int
    let tokenizer: Tokenizer

    func completionChoice(
        _ index: Int, text: String, logprobs: JSONValue, finish: String?
    ) -> JSONValue {
        .object([
            ("index", .number(index)), ("text", .string(text)), ("logprobs", logprobs),
            ("finish_reason", .optional(finish)),
        ])
    }

    func completion(_ choices: [JSONValue], usage: JSONValue?) -> JSONValue {
        envelope("text_completion", choices, usage: usage)
    }

    func usageChunk(_ object: String, _ usage: JSONValue) -> JSONValue {
        envelope(object, [], usage: usage)
    }

    func envelope(
        _ object: String, _ choices: [JSONValue], usage: JSONValue?
    ) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("id", .string(id)), ("object", .string(object)), ("created", .number(created)),
            ("model", .string(model)), ("choices", .array(choices)),
        ]
        if let usage { members.append(("usage", usage)) }
        return .object(members)
    }

    /// Why a text that has no calls ended.
    static func reason(_ finish: FinishReason) -> String {
        finish == .length ? "length" : "stop"
    }

    /// What a request cost, all its texts together; a prompt counts once, however many texts
    /// continue it.
    ///
    /// Of a prompt's tokens those count as cached that none of its texts had to compute.
    ///
    /// - Parameters:
    ///   - usages: Of every text, those of one prompt together.
    ///   - prompts: Tokens of each prompt.
    ///   - thoughtTokens: Of chats, the generated tokens that are thoughts.
    static func usage(
        _ usages: [GenerationUsage], prompts: [Int], thoughtTokens: Int? = nil
    ) -> JSONValue {
        let prompt = prompts.reduce(0, +)
        let generated = usages.reduce(0) { $0 + $1.generatedTokens }
        let choices = prompts.isEmpty ? 0 : usages.count / prompts.count
        let cached = prompts.enumerated().map { index, tokens in
            let texts = usages[index * choices ..< (index + 1) * choices]
            return min(tokens, texts.map(\.cachedTokens).min() ?? 0)
        }
        let thoughts = thoughtTokens.map { [("reasoning_tokens", JSONValue.number($0))] } ?? []
        return [
            "prompt_tokens": .number(prompt), "completion_tokens": .number(generated),
            "total_tokens": .number(prompt + generated),
            "prompt_tokens_details": ["cached_tokens": .number(cached.reduce(0, +))],
            "completion_tokens_details": .object(
                thoughts + [
                    (
                        "accepted_prediction_tokens",
                        .number(usages.reduce(0) { $0 + $1.acceptedTokens })
                    ),
                    (
                        "rejected_prediction_tokens",
                        .number(usages.reduce(0) { $0 + $1.draftedTokens - $1.acceptedTokens })
                    ),
                ]),
        ]
    }
}

extension AnswerWriter {
    /// The log-probabilities of chat tokens.
    func chatScores(_ scores: [ScoredToken]) -> JSONValue {
        func entry(_ token: Int, _ logprob: Float?) -> [(key: String, value: JSONValue)] {
            let bytes = tokenizer.bytes(of: token)
            return [
                ("token", .string(spelling(token))),
                ("logprob", .number(Double(logprob ?? Self.least))),
                ("bytes", .array(bytes.map { .number(Int($0)) })),
            ]
        }
        return [
            "content": .array(
                scores.map { score in
                    .object(
                        entry(score.token, score.logprob) + [
                            (
                                "top_logprobs",
                                .array(score.top.map { .object(entry($0.token, $0.logprob)) })
                            )
                        ])
                })
        ]
    }

    /// The log-probabilities of completion tokens, in the older form.
    ///
    /// - Parameter offsets: Of the choice's text, which goes on from call to call.
    func completionScores(
        _ scores: [ScoredToken], _ offsets: inout TextOffsets
    ) -> JSONValue {
        let places = scores.map { JSONValue.number(offsets.append($0.token)) }
        return [
            "tokens": .array(scores.map { .string(spelling($0.token)) }),
            "token_logprobs": .array(scores.map { Self.number($0.logprob) }),
            "top_logprobs": .array(
                scores.map { score in
                    guard score.logprob != nil else { return .null }
                    var members: [(key: String, value: JSONValue)] = []
                    for entry in score.top + [
                        TokenLogprob(token: score.token, logprob: score.logprob ?? 0)
                    ] {
                        let key = spelling(entry.token)
                        if !members.contains(where: { $0.key == key }) {
                            members.append((key, Self.number(entry.logprob)))
                        }
                    }
                    return .object(members)
                }),
            "text_offset": .array(places),
        ]
    }

    /// JSON has no infinity: what an impossible token's log-probability is written as.
    private static let least: Float = -9999

    private static func number(_ logprob: Float?) -> JSONValue {
        guard let logprob else { return .null }
        return .number(Double(max(logprob, least)))
    }

    private func spelling(_ token: Int) -> String {
        String(decoding: tokenizer.bytes(of: token), as: UTF8.self)
    }
}
