import Encoding

/// Qwen3-Coder's rules: tools are declared in marks as of XML, and calls are written so.
struct QwenCoderWriter: ChatWriter {
    private(set) var prompt = ChatPrompt()
    private let roles: [ChatMessage.Role]
    private var turnCount = 0

    init(_ messages: [ChatMessage], tools: [ToolDeclaration]) {
        roles = messages.map(\.role)
        let system = messages.first.flatMap { $0.role == .system ? $0.content ?? "" : nil }
        guard system != nil || !tools.isEmpty else { return }
        prompt.append(qwen: .start)
        prompt.append("system\n" + (system ?? Self.identity))
        if !tools.isEmpty {
            prompt.append("\n\n# Tools\n\nYou have access to the following tools:\n\n<tools>")
            for tool in tools { prompt.append(Self.declaration(tool.value)) }
            rules("\n</tools>" + Self.form)
        }
        rules("<|im_end|>\n")
    }

    private static let identity =
        "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."

    private static let form = """


        If you choose to call a tool ONLY reply in the following format with NO suffix:

        <tool_call>
        <function=example_function_name>
        <parameter=example_parameter_1>
        value_1
        </parameter>
        <parameter=example_parameter_2>
        value_2
        </parameter>
        </function>
        </tool_call>

        <IMPORTANT>
        Reminder:
        - Function calls MUST follow the specified format: the tool calling block MUST begin with \
        an opening <tool_call> tag and end with a closing </tool_call> tag.
        - Required parameters MUST be specified
        - You may provide optional reasoning for your function call in natural language BEFORE \
        the function call, but NOT after
        - If there is no function call available, answer the question like normal with your \
        current knowledge and do not tell the user about function calls
        </IMPORTANT>
        """

    private mutating func rules(_ text: String) {
        prompt.append(rules: text, tokens: QwenToken.allCases.map(\.rawValue))
    }

    private static func declaration(_ tool: JSONValue) -> String {
        var text = "\n<function>\n<name>\(tool["name"]?.string ?? "")</name>"
        if let words = tool["description"] {
            text += "\n<description>\(words.pythonText.stripped)</description>"
        }
        text += "\n<parameters>"
        for (name, fields) in tool["parameters"]?["properties"]?.object ?? [] {
            text += "\n<parameter>\n<name>\(name)</name>"
            if let type = fields["type"] { text += "\n<type>\(type.pythonText)</type>" }
            if let words = fields["description"] {
                text += "\n<description>\(words.pythonText.stripped)</description>"
            }
            text += more(fields, than: ["name", "type", "description"]) + "\n</parameter>"
        }
        return text + more(tool["parameters"], than: ["type", "properties"]) + "\n</parameters>"
            + more(tool, than: ["type", "name", "description", "parameters"]) + "\n</function>"
    }

    /// The members that have no place of their own.
    private static func more(_ value: JSONValue?, than known: [String]) -> String {
        (value?.object ?? []).filter { !known.contains($0.key) }
            .map { "\n<\($0.key)>\($0.value.markedText)</\($0.key)>" }.joined()
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer { turnCount += 1 }
        let content = message.content ?? ""
        switch message.role {
        case .system where turnCount == 0: break  // stands in the prompt's head
        case .assistant where !message.toolCalls.isEmpty:
            let words = content.stripped
            prompt.append(qwen: .start)
            prompt.append("assistant" + (words.isEmpty ? "" : "\n\(words)\n"))
            for call in message.toolCalls { write(call) }
            rules("<|im_end|>\n")
        case .system, .user, .assistant:
            prompt.append(qwen: .start)
            prompt.append(message.role.rawValue + "\n" + content)
            if !open { rules("<|im_end|>\n") }
        case .tool:
            if turnCount > 0, roles[turnCount - 1] != .tool {
                prompt.append(qwen: .start)
                prompt.append("user\n")
            }
            rules("<tool_response>\n")
            prompt.append(content)
            rules("\n</tool_response>\n")
            if turnCount + 1 == roles.count || roles[turnCount + 1] != .tool {
                rules("<|im_end|>\n")
            }
        }
    }

    private mutating func write(_ call: ToolCall) {
        rules("\n<tool_call>\n<function=")
        prompt.append(call.name + ">\n")
        for (key, value) in call.members {
            prompt.append("<parameter=\(key)>\n\(value.markedText)\n</parameter>\n")
        }
        rules("</function>\n</tool_call>")
    }

    mutating func finish(generation: Bool) {
        guard generation else { return }
        prompt.append(qwen: .start)
        prompt.append(QwenWriter.assistant)
    }
}

extension JSONValue {
    /// A value as Qwen3-Coder's template writes it: lists and objects as JSON, others as Python's
    /// `str` does.
    fileprivate var markedText: String {
        array != nil || object != nil ? spacedText : pythonText
    }
}
