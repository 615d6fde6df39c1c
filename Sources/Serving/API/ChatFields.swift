import Encoding
import Grammar
import Language

extension ChatMessage {
    /// Reads a message that has its shape.
    ///
    /// Text parts are joined. An earlier thought comes under either of its two names; the rules of
    /// the model's chats say whether it is repeated to the model.
    init(_ value: JSONValue) {
        let content: String?
        switch value["content"] {
        case .string(let text): content = text
        case .array(let parts): content = parts.compactMap { $0["text"]?.string }.joined()
        default: content = nil
        }
        let calls = (value["tool_calls"]?.array ?? []).map { call in
            ToolCall(
                name: call["function"]?["name"]?.string ?? "",
                arguments: call["function"]?["arguments"]?.string ?? "{}")
        }
        let name = value["role"]?.string ?? "user"
        self.init(
            role: Role(rawValue: name == "developer" ? "system" : name) ?? .user, content: content,
            toolCalls: calls, name: value["name"]?.string,
            reasoning: value["reasoning_content"]?.string ?? value["reasoning"]?.string)
    }
}

/// A function that the model may call.
struct Tool: Hashable, Sendable {
    var name: String
    var description: String?
    /// A JSON Schema; nil allows any object.
    var parameters: String?
    /// Whether a call keeps to the schema, as the request says.
    var isStrict: Bool?
    /// The whole declaration, JSON text.
    var declaration: String

    init(_ value: JSONValue) {
        let function = value["function"]
        name = function?["name"]?.string ?? ""
        description = function?["description"]?.string
        parameters = function?["parameters"].flatMap { $0.object == nil ? nil : $0.text }
        isStrict = (value["strict"] ?? function?["strict"])?.bool
        declaration = function?.text ?? "{}"
    }

    /// Whether a call's arguments may be any object, because the schema cannot be a grammar.
    var isLoose = false

    /// Refuses parameters of other types than objects, because a call's arguments are one.
    ///
    /// A type that JSON Schema does not know is found where the schema is kept to.
    static func check(_ value: JSONValue) throws(APIError) {
        let others: Set<String> = ["array", "boolean", "integer", "null", "number", "string"]
        guard let function = value["function"], let type = function["parameters"]?["type"],
            (type.array ?? [type]).allSatisfy({ $0.string.map(others.contains) == true })
        else { return }
        let name = function["name"]?.string ?? ""
        throw .invalid(
            "the parameters of tool \(name) have the type \(type.text.prefix(64)): it must be "
                + "object, because the arguments of a call are one",
            parameter: "tools")
    }

    /// What a call's arguments must be. The tool's schema keeps its own root.
    var arguments: OutputConstraint {
        isLoose
            ? .jsonObject
            : .named("the parameters of tool \(name)", parameter: "tools", .arguments(parameters))
    }

    /// A call of this tool as JSON: its name and its arguments.
    var call: OutputConstraint {
        .sequence([
            .text(#"{"name": \#(JSONValue.quoted(name)), "arguments": "#), arguments, .text("}"),
        ])
    }
}

/// What only a chat request has.
struct ChatFields: Sendable {
    /// Whether tools may, must, or must not be called.
    enum ToolChoice: Hashable, Sendable {
        case none, auto, required
        case named(String)
    }

    /// The turns; the last one is a prefix where the answer continues it.
    var messages: [ChatMessage]
    /// The tools that may be called.
    var tools: [Tool]
    var toolChoice: ToolChoice
    var allowsParallelCalls: Bool
    /// Alternatives to report with each token, when log-probabilities were asked for.
    var topLogprobs: Int?
    /// Whether the model should think first; nil leaves it to the template.
    var thinks: Bool?
    /// How hard the model should think, in the request's word.
    var effort: String?
    /// The day that the prompt says, in the request's words; nil leaves it to the server.
    var date: String?
    /// Whether the thoughts of all earlier answers stay.
    var keepsThoughts = false
    /// Tokens after which a thought is ended; nil lets the model end it.
    var thoughtBudget: Int?

    /// Calls that the conversation has.
    var callCount: Int { messages.reduce(0) { $0 + $1.toolCalls.count } }

    init(_ body: JSONValue) throws(APIError) {
        messages = try Self.messages(body)
        let declared = body["tools"]?.array ?? []
        for tool in declared { try Tool.check(tool) }
        tools = declared.map { Tool($0) }
        for (index, tool) in tools.enumerated()
        where tools[..<index].contains(where: { $0.name == tool.name }) {
            throw .invalid("two tools are named \(tool.name)", parameter: "tools")
        }
        allowsParallelCalls = body["parallel_tool_calls"]?.bool ?? true
        topLogprobs = body["logprobs"]?.bool == true ? body["top_logprobs"]?.integer ?? 0 : nil
        if body["logprobs"]?.bool != true, body["top_logprobs"]?.integer ?? 0 > 0 {
            throw .invalid("top_logprobs needs logprobs to be true", parameter: "top_logprobs")
        }
        toolChoice = try Self.toolChoice(body["tool_choice"], &tools)
        thinks = try Self.thinks(body)
        effort = body["reasoning_effort"]?.string
        date = try Self.date(body)
        keepsThoughts = try Self.keepsThoughts(body)
        thoughtBudget = body["thinking_token_budget"]?.integer
        if messages.last?.isPrefix == true, toolChoice != .none, toolChoice != .auto {
            throw .invalid(
                "tool_choice forces a call, but the last message is to be continued",
                parameter: "tool_choice")
        }
    }

    /// The turns of a request.
    ///
    /// - Throws: 400 for a turn that cannot be continued, and where members contradict each other.
    private static func messages(_ body: JSONValue) throws(APIError) -> [ChatMessage] {
        let values = try ToolResults.ordered(body["messages"]?.array ?? [])
        var messages = values.map { ChatMessage($0) }
        for (index, value) in values.dropLast().enumerated()
        where value["prefix"]?.bool == true {
            throw .invalid(
                "messages[\(index)].prefix is true: only the last message can be continued",
                parameter: "messages[\(index)].prefix")
        }
        let place = "messages[\(values.count - 1)]"
        let (prefix, continues) = (
            values.last?["prefix"]?.bool, body["continue_final_message"]?.bool
        )
        if let prefix, let continues, prefix != continues {
            throw .invalid(
                "continue_final_message is \(continues), but \(place).prefix is \(prefix)",
                parameter: "continue_final_message")
        }
        let generates = body["add_generation_prompt"]?.bool
        guard prefix ?? continues ?? false else {
            guard generates != false else {
                throw .invalid(
                    "add_generation_prompt is false: an answer begins where the prompt says so, "
                        + "unless continue_final_message is true",
                    parameter: "add_generation_prompt")
            }
            return messages
        }
        guard generates != true else {
            throw .invalid(
                "add_generation_prompt is true, but the last message is to be continued",
                parameter: "add_generation_prompt")
        }
        guard let last = messages.last, last.role == .assistant, last.toolCalls.isEmpty,
            last.content != nil
        else {
            throw .invalid(
                "\(place) is to be continued: it must be the assistant's, with content and "
                    + "without tool_calls",
                parameter: place)
        }
        messages[messages.count - 1].isPrefix = true
        return messages
    }

    private static func toolChoice(
        _ choice: JSONValue?, _ tools: inout [Tool]
    ) throws(APIError) -> ToolChoice {
        func tool(_ value: JSONValue?) throws(APIError) -> Tool {
            let name = value?["function"]?["name"]?.string ?? ""
            guard let tool = tools.first(where: { $0.name == name }) else {
                throw .invalid(
                    "tool_choice names \(JSONValue.quoted(name)), which is not in tools",
                    parameter: "tool_choice")
            }
            return tool
        }
        var mode = choice?.string
        if choice?["type"]?.string == "function" { return .named(try tool(choice).name) }
        if let allowed = choice?["allowed_tools"] {
            var some: [Tool] = []
            for value in allowed["tools"]?.array ?? [] { some.append(try tool(value)) }
            tools = some
            mode = allowed["mode"]?.string
        }
        switch mode {
        case "none": return .none
        case "required":
            guard !tools.isEmpty else {
                throw .invalid(
                    "tool_choice is required but there are no tools", parameter: "tools")
            }
            return .required
        default: return tools.isEmpty ? .none : .auto
        }
    }

    /// Whether an answer begins with a thought, by whichever of its names a client says it.
    static func thinks(_ body: JSONValue) throws(APIError) -> Bool? {
        let keywords = body["chat_template_kwargs"]
        let effort = body["reasoning_effort"]?.string.map { $0 != "none" }
        let switches = [
            ("chat_template_kwargs.thinking", keywords?["thinking"]?.bool),
            ("chat_template_kwargs.enable_thinking", keywords?["enable_thinking"]?.bool),
            ("reasoning_effort", effort),
        ].compactMap { name, value in value.map { (name, $0) } }
        guard let first = switches.first else { return nil }
        for other in switches where other.1 != first.1 {
            throw .invalid(
                "\(first.0) and \(other.0) contradict each other: one switches thinking on",
                parameter: other.0)
        }
        return first.1
    }
}
