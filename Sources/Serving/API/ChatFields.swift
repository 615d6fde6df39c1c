import Encoding
import Language

extension ChatMessage {
    /// Reads a message that has its shape.
    ///
    /// Text parts are joined. An earlier thought is not repeated to the model, under whichever of
    /// its two names a client sends it back.
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
            toolCalls: calls)
    }
}

/// A function that the model may call.
struct Tool: Hashable, Sendable {
    var name: String
    var description: String?
    /// A JSON Schema; nil allows any object.
    var parameters: String?
    /// The whole declaration, JSON text.
    var declaration: String

    init(_ value: JSONValue) {
        let function = value["function"]
        name = function?["name"]?.string ?? ""
        description = function?["description"]?.string
        parameters = function?["parameters"].flatMap { $0.isNull ? nil : $0.text }
        declaration = function?.text ?? "{}"
    }

    /// The schema that a call's arguments must satisfy.
    var argumentSchema: String { parameters ?? #"{"type":"object"}"# }
}

/// What only a chat request has.
struct ChatFields: Sendable {
    /// Whether tools may, must, or must not be called.
    enum ToolChoice: Hashable, Sendable {
        case none, auto, required
        case named(String)
    }

    var messages: [ChatMessage]
    var tools: [Tool]
    var toolChoice: ToolChoice
    var allowsParallelCalls: Bool
    /// Alternatives to report with each token, when log-probabilities were asked for.
    var topLogprobs: Int?
    /// Whether the model should think first; nil leaves it to the template.
    var thinks: Bool?

    init(_ body: JSONValue) throws(APIError) {
        messages = (body["messages"]?.array ?? []).map { ChatMessage($0) }
        tools = (body["tools"]?.array ?? []).map { Tool($0) }
        for (index, tool) in tools.enumerated()
        where tools[..<index].contains(where: { $0.name == tool.name }) {
            throw .invalid("two tools are named \(tool.name)", parameter: "tools")
        }
        allowsParallelCalls = body["parallel_tool_calls"]?.bool ?? true
        topLogprobs = body["logprobs"]?.bool == true ? body["top_logprobs"]?.integer ?? 0 : nil
        if body["logprobs"]?.bool != true, body["top_logprobs"]?.integer ?? 0 > 0 {
            throw .invalid("top_logprobs needs logprobs to be true", parameter: "top_logprobs")
        }
        switch body["tool_choice"] {
        case .string("none"): toolChoice = .none
        case .string("required"): toolChoice = .required
        case .object: toolChoice = .named(body["tool_choice"]?["function"]?["name"]?.string ?? "")
        default: toolChoice = tools.isEmpty ? .none : .auto
        }
        if case .named(let name) = toolChoice, !tools.contains(where: { $0.name == name }) {
            throw .invalid(
                "tool_choice names \(name), which is not in tools", parameter: "tool_choice")
        }
        if toolChoice == .required, tools.isEmpty {
            throw .invalid("tool_choice is required but there are no tools", parameter: "tools")
        }
        let keywords = body["chat_template_kwargs"]
        thinks = keywords?["thinking"]?.bool ?? keywords?["enable_thinking"]?.bool
    }
}
