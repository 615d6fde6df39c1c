import Encoding

/// Kimi-K2's rules and those of its successors: every turn names its speaker, and calls are
/// numbered through the conversation.
///
/// Moonshot's texts write the `id` that each call and result has; this writer numbers calls as
/// those models do, so a client's own ids do not reach the model.
struct KimiWriter: ChatWriter {
    /// Which of the published rules.
    enum Kind {
        /// Kimi-K2-Instruct: no thoughts.
        case instruct
        /// Kimi-K2-Thinking: answers begin with a thought.
        case thinking
        /// Kimi-K2.5, K2.6: the prompt begins the thought, or an empty one.
        case hybrid
    }

    private(set) var prompt = ChatPrompt()
    private let kind: Kind
    /// Whether the thought of an answer may be more than empty.
    private let thinks: Bool
    /// Turns that keep no thought: those up to an answer without calls.
    private let historyCount: Int
    private var turnCount = 0
    private var callCount = 0
    /// The names under which results are awaited.
    private var awaited: [String] = []

    /// - Parameter isMoonshots: Whether the text is Moonshot's own (`ChatTemplate.Variant`).
    init(
        _ messages: [ChatMessage], tools: [ToolDeclaration], kind: Kind, isMoonshots: Bool,
        thinks: Bool, keepsThoughts: Bool
    ) {
        self.kind = kind
        self.thinks = thinks
        func isAnswer(_ message: ChatMessage) -> Bool {
            message.role == .assistant && message.toolCalls.isEmpty
        }
        let answer =
            isMoonshots || kind == .hybrid
            ? messages.lastIndex(where: isAnswer) : messages.firstIndex(where: isAnswer)
        historyCount = keepsThoughts ? 0 : answer.map { $0 + 1 } ?? 0
        if !tools.isEmpty {
            begin(.system, "tool_declare")
            prompt.append(
                kind == .hybrid
                    ? InterfaceText.declaration(tools)
                    : isMoonshots
                        ? tools.sortedText
                        : "[" + tools.map(\.function).joined(separator: ", ") + "]")
            prompt.append(kimi: .end)
        }
        guard kind != .hybrid, messages.first?.role != .system else { return }
        guard kind == .thinking || !messages.isEmpty else { return }
        begin(.system, "system")
        prompt.append("You are Kimi, an AI assistant created by Moonshot AI.")
        prompt.append(kimi: .end)
        // A line break that the older template leaves.
        if kind == .instruct { prompt.append("\n") }
    }

    private mutating func begin(_ token: KimiToken, _ name: String) {
        prompt.append(kimi: token)
        prompt.append(name)
        prompt.append(kimi: .middle)
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer { turnCount += 1 }
        let name = message.name.flatMap { $0.isEmpty ? nil : $0 } ?? message.role.rawValue
        switch message.role {
        case .user: begin(.user, name)
        case .assistant: begin(.assistant, name)
        case .system, .tool: begin(.system, name)
        }
        if message.role == .tool {
            let call =
                awaited.isEmpty
                ? "functions.\(message.name ?? "unknown"):\(callCount)" : awaited.removeFirst()
            prompt.append("## Return of \(call)\n")
        }
        if kind != .instruct, message.role == .assistant {
            prompt.append(.beginThinking)
            let isKept = turnCount >= historyCount && (thinks || kind == .thinking)
            if isKept { prompt.append(message.reasoning ?? "") }
            prompt.append(.endThinking)
        }
        prompt.append(message.content ?? "")
        if !message.toolCalls.isEmpty { write(message.toolCalls) }
        if !open { prompt.append(kimi: .end) }
    }

    private mutating func write(_ calls: [ToolCall]) {
        prompt.append(kimi: .beginCalls)
        for call in calls {
            let name = "functions.\(call.name):\(callCount)"
            callCount += 1
            awaited.append(name)
            prompt.append(kimi: .beginCall)
            prompt.append(name)
            prompt.append(kimi: .beginArguments)
            prompt.append(call.arguments)
            prompt.append(kimi: .endCall)
        }
        prompt.append(kimi: .endCalls)
    }

    mutating func finish(generation: Bool) {
        guard generation else { return }
        begin(.assistant, "assistant")
        guard kind != .instruct, kind == .hybrid || !thinks else { return }
        prompt.append(.beginThinking)
        if !thinks { prompt.append(.endThinking) }
    }
}

extension ToolDeclaration {
    /// The tool as Python's `json.dumps` writes it.
    var function: String { #"{"type": "function", "function": \#(value.spacedText)}"# }
}

extension [ToolDeclaration] {
    /// The tools as Kimi's tokenizer hands them to the template, which leaves no space.
    var sortedText: String {
        let tools = map { tool in
            JSONValue.object([
                (key: "function", value: tool.value.sortedByKey),
                (key: "type", value: .string("function")),
            ])
        }
        return JSONValue.array(tools).pythonText(separators: (",", ":"))
    }
}
