import Encoding
import Language

/// Chats as OpenAI's Chat Completions writes them.
struct ChatCompletions: ChatDialect {
    let writer: AnswerWriter
    /// Whether the request asked for log-probabilities.
    let wantsScores: Bool
    /// Whether a chunk with the usage ends the stream.
    let includesUsage: Bool
    /// Whether every chunk has the usage so far.
    let includesContinuousUsage: Bool
    /// Texts that the request asked for.
    let choiceCount: Int

    var callPrefix: String { "call-\(writer.id)" }
    var writesDone: Bool { true }

    func whole(_ choices: [ChatChoice], _ cost: ChatCost) -> JSONValue {
        writer.envelope(
            "chat.completion",
            choices.map { choice in
                .object([
                    ("index", .number(choice.index)), ("message", message(choice)),
                    ("logprobs", choice.scores.map { writer.chatScores($0) } ?? .null),
                    ("finish_reason", .string(Self.reason(choice))),
                ])
            }, usage: Self.usage(cost))
    }

    private func message(_ choice: ChatChoice) -> JSONValue {
        let isCall = choice.content.isEmpty && !choice.calls.isEmpty
        var message: [(key: String, value: JSONValue)] = [
            ("role", "assistant"), ("content", isCall ? .null : .string(choice.content)),
        ]
        if !choice.reasoning.isEmpty {
            // Clients know either name, by their age.
            message.append(("reasoning_content", .string(choice.reasoning)))
            message.append(("reasoning", .string(choice.reasoning)))
        }
        if !choice.calls.isEmpty {
            message.append(("tool_calls", .array(choice.calls.map { Self.call($0, index: nil) })))
        }
        return .object(message)
    }

    func begin(_ cost: ChatCost) -> [StreamEvent] {
        (0 ..< choiceCount).map {
            chunk($0, delta: [("role", "assistant"), ("content", "")], cost)
        }
    }

    func add(
        _ deltas: [ChatAnswer.Delta], _ tokens: [ScoredToken], to index: Int, _ cost: ChatCost
    ) -> [StreamEvent] {
        var scores = wantsScores ? tokens : nil
        let isSilent = deltas.isEmpty && scores?.isEmpty == false
        return (isSilent ? [.content("")] : deltas).map { delta in
            defer { scores = nil }
            return chunk(index, delta: Self.members(delta), scores: scores, cost)
        }
    }

    func finish(_ choice: ChatChoice, _ cost: ChatCost) -> [StreamEvent] {
        [chunk(choice.index, delta: [], finish: Self.reason(choice), cost)]
    }

    func end(_ cost: ChatCost) -> [StreamEvent] {
        guard includesUsage else { return [] }
        return [
            StreamEvent(
                data: writer.usageChunk("chat.completion.chunk", Self.usage(cost)))
        ]
    }

    func failure(_ error: APIError) -> StreamEvent { StreamEvent(data: error.body) }

    private func chunk(
        _ index: Int, delta: [(key: String, value: JSONValue)], scores: [ScoredToken]? = nil,
        finish: String? = nil, _ cost: ChatCost
    ) -> StreamEvent {
        StreamEvent(
            data: writer.envelope(
                "chat.completion.chunk",
                [
                    .object([
                        ("index", .number(index)), ("delta", .object(delta)),
                        ("logprobs", scores.map { writer.chatScores($0) } ?? .null),
                        ("finish_reason", .optional(finish)),
                    ])
                ], usage: includesContinuousUsage ? Self.usage(cost) : nil))
    }

    /// Why a text ended, as the API names it.
    static func reason(_ choice: ChatChoice) -> String {
        choice.endsInCalls ? "tool_calls" : AnswerWriter.reason(choice.finish)
    }

    private static func usage(_ cost: ChatCost) -> JSONValue {
        AnswerWriter.usage(
            cost.texts, prompts: [cost.promptTokens], thoughtTokens: cost.thoughtTokens)
    }

    static func call(_ call: AnsweredCall, index: Int?) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = []
        if let index { members.append(("index", .number(index))) }
        members += [
            ("id", .string(call.id)), ("type", "function"),
            (
                "function",
                ["name": .string(call.name), "arguments": .string(call.arguments)]
            ),
        ]
        return .object(members)
    }

    private static func members(
        _ delta: ChatAnswer.Delta
    ) -> [(key: String, value: JSONValue)] {
        switch delta {
        case .reasoning(let text):
            return [("reasoning_content", .string(text)), ("reasoning", .string(text))]
        case .content(let text): return [("content", .string(text))]
        case .callBegins(let index, let call):
            return [("tool_calls", [Self.call(call, index: index)])]
        case .arguments(let index, let text):
            let function: JSONValue = ["arguments": .string(text)]
            return [("tool_calls", [["index": .number(index), "function": function]])]
        }
    }
}
