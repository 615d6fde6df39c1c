import Encoding
import Language

/// Chats as Anthropic's Messages API writes them.
///
/// An answer is a list of blocks: a thought, text, calls of tools. In a stream one block is open at
/// a time.
///
///     message_start  (content_block_start  content_block_delta...  content_block_stop)...
///     message_delta  message_stop
struct Messages: ChatDialect {
    let id: String
    let model: String
    private var open: Block?
    private var blockCount = 0

    /// What a block holds.
    private enum Block { case thinking, text, call }

    init(id: String, model: String) {
        self.id = "msg_\(id)"
        self.model = model
    }

    var callPrefix: String { "toolu_\(id.dropFirst("msg_".count))" }
    var writesDone: Bool { false }

    func whole(_ choices: [ChatChoice], _ cost: ChatCost) -> JSONValue {
        let choice = choices.first ?? ChatChoice(index: 0)
        var content: [JSONValue] = []
        if !choice.reasoning.isEmpty { content.append(Self.thought(choice.reasoning)) }
        if !choice.content.isEmpty { content.append(Self.text(choice.content)) }
        content += choice.calls.map { Self.call($0, input: Self.input($0)) }
        return message(content, choice, cost)
    }

    private func message(
        _ content: [JSONValue], _ choice: ChatChoice?, _ cost: ChatCost
    ) -> JSONValue {
        .object(
            [
                ("id", .string(id)), ("type", "message"), ("role", "assistant"),
                ("model", .string(model)), ("content", .array(content)),
            ] + Self.end(of: choice) + [("usage", Self.usage(cost))])
    }

    mutating func begin(_ cost: ChatCost) -> [StreamEvent] {
        [Self.event("message_start", [("message", message([], nil, cost))])]
    }

    mutating func add(
        _ deltas: [ChatAnswer.Delta], _ tokens: [ScoredToken], to index: Int, _ cost: ChatCost
    ) -> [StreamEvent] {
        deltas.flatMap { delta in
            switch delta {
            case .reasoning(let text):
                enter(.thinking, Self.thought(""))
                    + [part([("type", "thinking_delta"), ("thinking", .string(text))])]
            case .content(let text):
                enter(.text, Self.text(""))
                    + [part([("type", "text_delta"), ("text", .string(text))])]
            case .callBegins(_, let call):
                leave() + enter(.call, Self.call(call, input: [:]))
                    + (call.arguments.isEmpty ? [] : [part(Self.json(call.arguments))])
            case .arguments(_, let text): [part(Self.json(text))]
            }
        }
    }

    mutating func finish(_ choice: ChatChoice, _ cost: ChatCost) -> [StreamEvent] {
        leave() + [
            Self.event(
                "message_delta",
                [("delta", .object(Self.end(of: choice))), ("usage", Self.usage(cost))])
        ]
    }

    func end(_ cost: ChatCost) -> [StreamEvent] { [Self.event("message_stop", [])] }

    func failure(_ error: APIError) -> StreamEvent {
        StreamEvent(name: "error", data: Self.body(of: MessagesRequest.renamed(error)))
    }

    /// Opens a block of this kind, where none is open.
    private mutating func enter(_ block: Block, _ beginning: JSONValue) -> [StreamEvent] {
        guard open != block else { return [] }
        let left = leave()
        open = block
        return left + [
            Self.event(
                "content_block_start",
                [("index", .number(blockCount)), ("content_block", beginning)])
        ]
    }

    private mutating func leave() -> [StreamEvent] {
        guard open != nil else { return [] }
        open = nil
        blockCount += 1
        return [Self.event("content_block_stop", [("index", .number(blockCount - 1))])]
    }

    private func part(_ delta: [(key: String, value: JSONValue)]) -> StreamEvent {
        Self.event(
            "content_block_delta", [("index", .number(blockCount)), ("delta", .object(delta))])
    }
}

extension Messages {
    private static func event(
        _ name: String, _ members: [(key: String, value: JSONValue)]
    ) -> StreamEvent {
        StreamEvent(name: name, data: .object([("type", .string(name))] + members))
    }

    private static func json(_ text: String) -> [(key: String, value: JSONValue)] {
        [("type", "input_json_delta"), ("partial_json", .string(text))]
    }

    private static func thought(_ text: String) -> JSONValue {
        ["type": "thinking", "thinking": .string(text), "signature": ""]
    }

    private static func text(_ text: String) -> JSONValue {
        ["type": "text", "text": .string(text)]
    }

    private static func call(_ call: AnsweredCall, input: JSONValue) -> JSONValue {
        [
            "type": "tool_use", "id": .string(call.id), "name": .string(call.name), "input": input,
        ]
    }

    /// The arguments of a whole call, which are an object.
    ///
    /// A model that calls freely may write another text: it goes to the caller as it is.
    private static func input(_ call: AnsweredCall) -> JSONValue {
        do {
            let value = try JSONValue.parse(call.arguments)
            if value.object != nil { return value }
        } catch { return .object([("arguments", .string(call.arguments))]) }
        return .object([("arguments", .string(call.arguments))])
    }

    private static func end(of choice: ChatChoice?) -> [(key: String, value: JSONValue)] {
        let reason: JSONValue
        switch choice {
        case nil: reason = .null
        case let choice? where choice.endsInCalls: reason = "tool_use"
        case let choice? where choice.finish == .length: reason = "max_tokens"
        case let choice? where choice.stopString != nil: reason = "stop_sequence"
        case _?: reason = "end_turn"
        }
        let stop = reason == "stop_sequence" ? choice?.stopString : nil
        return [("stop_reason", reason), ("stop_sequence", .optional(stop))]
    }

    private static func usage(_ cost: ChatCost) -> JSONValue {
        [
            "input_tokens": .number(cost.promptTokens - cost.cachedTokens),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": .number(cost.cachedTokens),
            "output_tokens": .number(cost.generatedTokens), "service_tier": "standard",
        ]
    }

    /// An error as clients of the Messages API read it.
    static func body(of error: APIError) -> JSONValue {
        let type =
            switch error.status {
            case 401: "authentication_error"
            case 403: "permission_error"
            case 404: "not_found_error"
            case 413: "request_too_large"
            case 429: "rate_limit_error"
            case 503: "overloaded_error"
            case 500...: "api_error"
            default: "invalid_request_error"
            }
        return [
            "type": "error",
            "error": ["type": .string(type), "message": .string(error.message)],
        ]
    }
}
