import Encoding

/// How a model writes the call of a function.
public enum CallForm: Sendable, Hashable {
    /// DeepSeek-V3's: `function`, separator, name, and JSON in a code fence.
    case fenced
    /// DeepSeek-V3.1's: name, separator, bare JSON.
    case bare
    /// Kimi-K2's: `functions.`, name, colon, number of the call; then bare JSON.
    case numbered
    /// GLM's: name, then keys and values between marks of their own.
    case keyed
    /// DeepSeek-V3.2's: marks as of XML, with an attribute that says whether a value is text.
    case marked
    /// Qwen3's: a JSON object of name and arguments.
    case object
    /// Qwen3-Coder's: marks as of XML around the function and each argument, a line each.
    case tagged
    /// MiniMax-M2's: marks as of XML, names as attributes.
    case invoked
    /// gpt-oss's: a message to a function, whose content is JSON.
    case channeled

    /// The part of the system prompt that declares functions.
    ///
    /// V3's template has none: this one shows the form of a call as the template writes it into a
    /// conversation. V3.1's is that of its model card.
    func section(_ tools: [ToolDeclaration]) -> ChatPrompt {
        var prompt = ChatPrompt()
        switch self {
        case .numbered, .keyed, .marked, .object, .tagged, .invoked, .channeled:
            break  // their templates declare tools themselves
        case .fenced:
            prompt.append("## Tools\n\nThese functions can be called:\n\n")
            for tool in tools {
                prompt.append("### \(tool.name)\n```json\n\(tool.declaration)\n```\n\n")
            }
            prompt.append(
                "To call them, answer with their names and JSON arguments in this form, one call "
                    + "after another:\n")
            prompt.append(.beginCalls)
            prompt.append(ToolCall(name: "NAME", arguments: "ARGUMENTS"), in: self)
            prompt.append(.endCalls)
        case .bare:
            prompt.append("## Tools\nYou have access to the following tools:\n")
            for tool in tools {
                prompt.append(
                    "\n### \(tool.name)\nDescription: \(tool.description)\n\n"
                        + "Parameters: \(tool.parameters)\n")
            }
            prompt.append("\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n")
            prompt.append(.beginCalls)
            prompt.append(
                ToolCall(name: "tool_call_name", arguments: "tool_call_arguments"), in: self)
            prompt.append("{additional_tool_calls}")
            prompt.append(.endCalls)
            prompt.append(
                "\n\nWhere:\n"
                    + "- `tool_call_name` must be an exact match to one of the available tools\n"
                    + "- `tool_call_arguments` must be valid JSON that strictly follows the tool's "
                    + "Parameters Schema\n"
                    + "- For multiple tool calls, chain them directly without separators or spaces")
        }
        return prompt
    }
}

extension ChatPrompt {
    mutating func append(_ call: ToolCall, in form: CallForm) {
        if form == .object {
            appendObject(call)
            return
        }
        append(.beginCall)
        switch form {
        case .numbered, .keyed, .marked, .object, .tagged, .invoked, .channeled:
            break  // their writers write calls themselves
        case .fenced:
            append(call.type)
            append(.separator)
            append("\(call.name)\n```json\n\(call.arguments)\n```")
        case .bare:
            append(call.name)
            append(.separator)
            append(call.arguments)
        }
        append(.endCall)
    }

    private mutating func appendObject(_ call: ToolCall) {
        append(qwen: .beginCall)
        append(CallForm.objectStart(JSONValue.quoted(call.name)) + call.arguments + "}\n")
        append(qwen: .endCall)
    }
}

extension CallForm {
    /// What stands before the arguments of a call that is an object.
    ///
    /// - Parameter name: The function's name, as JSON.
    package static func objectStart(_ name: String) -> String {
        "\n{\"name\": \(name), \"arguments\": "
    }
}

extension ToolDeclaration {
    fileprivate var description: String { value["description"]?.string ?? "" }

    /// The schema as Python's `json.dumps` writes it.
    fileprivate var parameters: String { value["parameters"]?.spacedText ?? "{}" }

    var value: JSONValue { (try? JSONValue.parse(declaration)) ?? .null }
}
