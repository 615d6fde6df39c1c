import Encoding

/// A request of Anthropic's Messages API, said as a request of Chat Completions.
///
/// Texts of a message or a system prompt that stand in several blocks are joined by line breaks.
/// Results of tools follow their calls in the order of the calls, which is how templates match
/// them.
enum MessagesRequest {
    /// - Parameter body: A request that has the shape `RequestShapes.messages` or `.countTokens`.
    /// - Throws: 400 for blocks in places where they mean nothing.
    static func chat(_ body: JSONValue) throws(APIError) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = []
        for name in [
            "model", "max_tokens", "temperature", "top_p", "top_k", "stream", "seed", "cache_salt",
        ] {
            if let value = body[name] { members.append((name, value)) }
        }
        if let stops = body["stop_sequences"] { members.append(("stop", stops)) }
        members.append(("messages", .array(try messages(body))))
        if let tools = body["tools"]?.array {
            members.append(("tools", .array(tools.map { tool($0) })))
        }
        if let choice = body["tool_choice"], !choice.isNull { members += toolChoice(choice) }
        if let thinking = body["thinking"], !thinking.isNull {
            if thinking["type"] == "enabled", let choice = body["tool_choice"]?["type"]?.string,
                choice == "any" || choice == "tool"
            {
                throw .invalid(
                    "thinking is enabled and tool_choice is \(choice): a forced call has no "
                        + "thought",
                    parameter: "thinking")
            }
            members += thoughts(thinking)
        }
        if let format = try format(body) {
            members.append(
                (
                    "response_format",
                    [
                        "type": "json_schema",
                        "json_schema": ["name": "output", "schema": format["schema"] ?? [:]],
                    ]
                ))
        }
        return .object(members)
    }

    /// An error in the words of the Messages API: members by the names that the client knows.
    static func renamed(_ error: APIError) -> APIError {
        var error = error
        for (name, known) in [
            ("chat_template_kwargs", "thinking"), ("thinking_token_budget", "budget_tokens"),
            ("response_format.json_schema", "output_config.format"),
            ("response_format", "output_config.format"),
        ] {
            error.message = error.message.replacing(name, with: known)
            error.parameter = error.parameter?.replacing(name, with: known)
        }
        return error
    }

    private static func format(_ body: JSONValue) throws(APIError) -> JSONValue? {
        let formats = [body["output_config"]?["format"], body["output_format"]]
            .compactMap { $0 }.filter { !$0.isNull }
        guard formats.count < 2 else {
            throw .invalid(
                "output_format and output_config.format are both given: they are one format",
                parameter: "output_format")
        }
        return formats.first
    }

    private static func tool(_ value: JSONValue) -> JSONValue {
        var function: [(key: String, value: JSONValue)] = [("name", value["name"] ?? .null)]
        if let description = value["description"], !description.isNull {
            function.append(("description", description))
        }
        function.append(("parameters", value["input_schema"] ?? .null))
        // Beside the declaration, which the model reads.
        return [
            "type": "function", "function": .object(function), "strict": value["strict"] ?? .null,
        ]
    }

    private static func toolChoice(
        _ choice: JSONValue
    ) -> [(key: String, value: JSONValue)] {
        var members: [(key: String, value: JSONValue)] = []
        switch choice["type"]?.string {
        case "any": members.append(("tool_choice", "required"))
        case "tool":
            let function: JSONValue = ["name": choice["name"] ?? .null]
            members.append(("tool_choice", ["type": "function", "function": function]))
        case let name: members.append(("tool_choice", .string(name ?? "auto")))
        }
        if let isOff = choice["disable_parallel_tool_use"]?.bool {
            members.append(("parallel_tool_calls", .bool(!isOff)))
        }
        return members
    }

    private static func thoughts(_ thinking: JSONValue) -> [(key: String, value: JSONValue)] {
        guard let type = thinking["type"]?.string, type != "adaptive" else { return [] }
        let members: [(key: String, value: JSONValue)] = [
            ("chat_template_kwargs", ["thinking": .bool(type == "enabled")])
        ]
        guard let budget = thinking["budget_tokens"] else { return members }
        return members + [("thinking_token_budget", budget)]
    }
}

extension MessagesRequest {
    private static func messages(_ body: JSONValue) throws(APIError) -> [JSONValue] {
        var turns: [JSONValue] = []
        let system = text(body["system"])
        if !system.isEmpty { turns.append(["role": "system", "content": .string(system)]) }
        let messages = body["messages"]?.array ?? []
        var open: [String] = []
        for (index, message) in messages.enumerated() {
            let place = "messages[\(index)]"
            let isUser = message["role"]?.string == "user"
            guard isUser || open.isEmpty else { throw unanswered(open[0], place) }
            if isUser {
                turns += try userTurns(message, answering: open, at: place)
                open = []
            } else {
                let isLast = index == messages.count - 1
                let (turn, calls) = try assistantTurn(message, isLast: isLast, at: place)
                turns.append(turn)
                open = calls
            }
        }
        return turns
    }

    private static func unanswered(_ id: String, _ place: String) -> APIError {
        .invalid(
            "\(place) follows the tool_use \(JSONValue.quoted(id)), whose tool_result is missing",
            parameter: "messages")
    }

    /// A text, or texts in blocks.
    private static func text(_ value: JSONValue?) -> String {
        value?.string
            ?? (value?.array ?? []).compactMap { $0["text"]?.string }.joined(separator: "\n")
    }

    /// The results of tools and the texts of a user's message, as they follow one another.
    private static func userTurns(
        _ message: JSONValue, answering calls: [String], at place: String
    ) throws(APIError) -> [JSONValue] {
        guard let blocks = message["content"]?.array else {
            guard calls.isEmpty else { throw unanswered(calls[0], place) }
            return [["role": "user", "content": message["content"] ?? .null]]
        }
        var results: [String: JSONValue] = [:]
        var texts: [String] = []
        for (index, block) in blocks.enumerated() {
            let place = "\(place).content[\(index)]"
            switch block["type"]?.string {
            case "text": texts.append(block["text"]?.string ?? "")
            case "tool_result":
                let id = block["tool_use_id"]?.string ?? ""
                guard calls.contains(id), results[id] == nil else {
                    throw .invalid(
                        "\(place).tool_use_id is \(JSONValue.quoted(id)): "
                            + (results[id] == nil
                                ? "the message before has no tool_use of this id"
                                : "this tool_use has a tool_result already"),
                        parameter: "\(place).tool_use_id")
                }
                results[id] = [
                    "role": "tool", "tool_call_id": .string(id),
                    "content": .string(text(block["content"])),
                ]
            case let type: throw misplaced(type, "assistant", place)
            }
        }
        if let missing = calls.first(where: { results[$0] == nil }) {
            throw unanswered(missing, place)
        }
        let said = texts.isEmpty && !calls.isEmpty
        return calls.compactMap { results[$0] }
            + (said
                ? [] : [["role": "user", "content": .string(texts.joined(separator: "\n"))]])
    }

    /// - Returns: The turn, and the ids of its calls.
    private static func assistantTurn(
        _ message: JSONValue, isLast: Bool, at place: String
    ) throws(APIError) -> (turn: JSONValue, calls: [String]) {
        let blocks = message["content"]?.array ?? []
        var calls: [JSONValue] = []
        var ids: [String] = []
        for (index, block) in blocks.enumerated() {
            switch block["type"]?.string {
            case "tool_use":
                let id = block["id"]?.string ?? ""
                guard !ids.contains(id) else {
                    throw .invalid(
                        "\(place).content[\(index)].id is \(JSONValue.quoted(id)), as another's",
                        parameter: "\(place).content[\(index)].id")
                }
                ids.append(id)
                let function: JSONValue = [
                    "name": block["name"] ?? .null,
                    "arguments": .string((block["input"] ?? [:]).text),
                ]
                calls.append(["id": .string(id), "type": "function", "function": function])
            case "tool_result":
                throw misplaced("tool_result", "user", "\(place).content[\(index)]")
            default: break
            }
        }
        if isLast, let id = ids.first { throw unanswered(id, "the answer to \(place)") }
        var members: [(key: String, value: JSONValue)] = [
            ("role", "assistant"), ("content", .string(text(message["content"]))),
        ]
        let thoughts = blocks.compactMap { $0["thinking"]?.string }
        if !thoughts.isEmpty {
            members.append(("reasoning_content", .string(thoughts.joined(separator: "\n"))))
        }
        if !calls.isEmpty { members.append(("tool_calls", .array(calls))) }
        if isLast { members.append(("prefix", true)) }
        return (.object(members), ids)
    }

    private static func misplaced(_ type: String?, _ role: String, _ place: String) -> APIError {
        .invalid(
            "\(place).type is \(type ?? "missing"): only the \(role)'s messages have such blocks",
            parameter: "\(place).type")
    }
}
