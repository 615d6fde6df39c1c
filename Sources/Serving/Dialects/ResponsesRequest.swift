import Encoding

/// A request of OpenAI's Responses API, said as a request of Chat Completions.
enum ResponsesRequest {
    /// The request as a chat, and the turns that a later request would continue.
    ///
    /// - Parameters:
    ///   - body: A request that has the shape `RequestShapes.responses`.
    ///   - earlier: The turns of the response that it continues.
    static func chat(
        _ body: JSONValue, after earlier: [JSONValue]
    ) throws(APIError) -> (chat: JSONValue, turns: [JSONValue]) {
        try check(body)
        var members: [(key: String, value: JSONValue)] = []
        for (name, known) in [
            ("model", "model"), ("temperature", "temperature"), ("top_p", "top_p"),
            ("stream", "stream"), ("seed", "seed"), ("cache_salt", "cache_salt"),
            ("max_output_tokens", "max_completion_tokens"),
            ("parallel_tool_calls", "parallel_tool_calls"),
        ] {
            if let value = body[name] { members.append((known, value)) }
        }
        if let tools = body["tools"]?.array {
            members.append(("tools", .array(tools.map { tool($0) })))
        }
        if let choice = body["tool_choice"] { members.append(("tool_choice", choice.asOfChats)) }
        if let effort = body["reasoning"]?["effort"], !effort.isNull {
            members.append(("reasoning_effort", effort))
        }
        if let format = body["text"]?["format"], !format.isNull {
            members.append(("response_format", self.format(format)))
        }
        let turns = try earlier + turns(body["input"] ?? .null)
        guard !turns.isEmpty else {
            throw .invalid("input is empty, and continues nothing", parameter: "input")
        }
        var said = turns
        if let instructions = body["instructions"]?.string {
            said.insert(["role": "system", "content": .string(instructions)], at: 0)
        }
        members.append(("messages", .array(said)))
        return (.object(members), turns)
    }

    private static func check(_ body: JSONValue) throws(APIError) {
        guard body["background"]?.bool == true else { return }
        if body["stream"]?.bool == true {
            throw .invalid(
                "background and stream are both true: a response in the background is read with "
                    + "GET /v1/responses/{id}",
                parameter: "stream")
        }
        if body["store"]?.bool == false {
            throw .invalid(
                "background is true and store is false: nobody could read the response",
                parameter: "store")
        }
    }

    /// An error in the words of the Responses API: members by the names that the client knows.
    static func renamed(_ error: APIError) -> APIError {
        var error = error
        for (name, known) in [
            ("max_completion_tokens", "max_output_tokens"), ("max_tokens", "max_output_tokens"),
            ("messages has", "input has"), ("reasoning_effort", "reasoning.effort"),
            ("response_format.json_schema", "text.format"), ("response_format", "text.format"),
        ] {
            error.message = error.message.replacing(name, with: known)
            error.parameter = error.parameter?.replacing(name, with: known)
        }
        if error.parameter == "messages" { error.parameter = "input" }
        return error
    }

    private static func tool(_ value: JSONValue) -> JSONValue {
        let function = (value.object ?? []).filter {
            ["name", "description", "parameters"].contains($0.key) && !$0.value.isNull
        }
        // Beside the declaration, which the model reads.
        return [
            "type": "function", "function": .object(function), "strict": value["strict"] ?? .null,
        ]
    }

    private static func format(_ value: JSONValue) -> JSONValue {
        guard value["type"]?.string == "json_schema" else { return value }
        let schema = (value.object ?? []).filter { $0.key != "type" }
        return ["type": "json_schema", "json_schema": .object(schema)]
    }
}

extension JSONValue {
    /// A choice of tools in the shape that chats have.
    fileprivate var asOfChats: JSONValue {
        func named(_ value: JSONValue) -> JSONValue {
            ["type": "function", "function": ["name": value["name"] ?? .null]]
        }
        switch self["type"]?.string {
        case "function": return named(self)
        case "allowed_tools":
            let tools = (self["tools"]?.array ?? []).map { named($0) }
            return [
                "type": "allowed_tools",
                "allowed_tools": ["mode": self["mode"] ?? .null, "tools": .array(tools)],
            ]
        default: return self
        }
    }
}

extension ResponsesRequest {
    /// The turns that a text or a list of items says.
    private static func turns(_ input: JSONValue) throws(APIError) -> [JSONValue] {
        guard let items = input.array else { return [["role": "user", "content": input]] }
        var turns: [JSONValue] = []
        // A thought stands before the words or the calls that it led to.
        var thought: JSONValue?
        for (index, item) in items.enumerated() {
            switch item["type"]?.string {
            case "function_call":
                append(call: item, after: thought, to: &turns)
                thought = nil
            case "function_call_output":
                turns.append([
                    "role": "tool", "tool_call_id": item["call_id"] ?? .null,
                    "content": .string(text(item["output"])),
                ])
            case "reasoning":
                let words = text(item["content"])
                thought = words.isEmpty ? nil : .string(words)
            default:
                turns.append(
                    .object(
                        [
                            ("role", item["role"] ?? .null),
                            ("content", .string(text(item["content"]))),
                        ] + (thought.map { [("reasoning_content", $0)] } ?? [])))
                thought = nil
            }
            if index == items.count - 1, item["role"]?.string == "assistant" {
                throw .invalid(
                    "input[\(index)] is the assistant's: a response begins a turn of its own",
                    parameter: "input[\(index)]")
            }
        }
        return turns
    }

    /// Adds a call to the assistant's turn before it, or begins one: a turn has one thought.
    private static func append(
        call item: JSONValue, after thought: JSONValue?, to turns: inout [JSONValue]
    ) {
        let function: JSONValue = [
            "name": item["name"] ?? .null, "arguments": item["arguments"] ?? .null,
        ]
        let call: JSONValue = [
            "id": item["call_id"] ?? .null, "type": "function", "function": function,
        ]
        var turn: [(key: String, value: JSONValue)] = [("role", "assistant"), ("content", "")]
        if let last = turns.last?.object, turns.last?["role"]?.string == "assistant",
            thought == nil || turns.last?["reasoning_content"] == nil
        {
            turn = last
            turns.removeLast()
        }
        if let thought { turn.append(("reasoning_content", thought)) }
        let calls = turn.first { $0.key == "tool_calls" }?.value.array ?? []
        turn.removeAll { $0.key == "tool_calls" }
        turns.append(.object(turn + [("tool_calls", .array(calls + [call]))]))
    }

    /// A text, or texts in parts, which follow one another.
    private static func text(_ value: JSONValue?) -> String {
        value?.string
            ?? (value?.array ?? []).compactMap { $0["text"]?.string ?? $0["refusal"]?.string }
            .joined()
    }

    /// The assistant's turn that an answer adds to a conversation.
    static func turn(_ choice: ChatChoice) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("role", "assistant"), ("content", .string(choice.content)),
        ]
        if !choice.reasoning.isEmpty {
            members.append(("reasoning_content", .string(choice.reasoning)))
        }
        if !choice.calls.isEmpty {
            members.append(
                (
                    "tool_calls",
                    .array(choice.calls.map { ChatCompletions.call($0, index: nil) })
                ))
        }
        return .object(members)
    }
}
