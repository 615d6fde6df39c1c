import Encoding

/// Kimi-K2's rules, and those of Kimi-K2-Thinking: every turn names its speaker, and calls are
/// numbered through the conversation.
struct KimiWriter: ChatWriter {
    private(set) var prompt = ChatPrompt()
    /// Whether answers begin with a thought, as Kimi-K2-Thinking's do.
    private let hasThoughts: Bool
    /// Whether the next one may be more than empty.
    private let thinks: Bool
    /// Turns that keep no thought: those up to the first answer without calls.
    private let historyCount: Int
    private var turnCount = 0
    private var callCount = 0
    /// The names under which results are awaited.
    private var awaited: [String] = []

    /// - Parameter thinks: nil for Kimi-K2-Instruct, which has no thoughts.
    init(_ messages: [ChatMessage], tools: [ToolDeclaration], thinks: Bool? = nil) {
        hasThoughts = thinks != nil
        self.thinks = thinks ?? true
        let answer = messages.firstIndex { $0.role == .assistant && $0.toolCalls.isEmpty }
        historyCount = answer.map { $0 + 1 } ?? 0
        if !tools.isEmpty {
            begin(.system, "tool_declare")
            prompt.append("[" + tools.map(\.function).joined(separator: ", ") + "]")
            prompt.append(kimi: .end)
        }
        guard messages.first?.role != .system else { return }
        guard hasThoughts || !messages.isEmpty else { return }
        begin(.system, "system")
        prompt.append("You are Kimi, an AI assistant created by Moonshot AI.")
        prompt.append(kimi: .end)
        // A line break that the older template leaves.
        if !hasThoughts { prompt.append("\n") }
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
        if hasThoughts, message.role == .assistant {
            prompt.append(.beginThinking)
            if turnCount >= historyCount { prompt.append(message.reasoning ?? "") }
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
        guard !thinks else { return }
        prompt.append(.beginThinking)
        prompt.append(.endThinking)
    }
}

extension ToolDeclaration {
    /// The tool as Python's `json.dumps` writes it.
    var function: String { #"{"type": "function", "function": \#(value.spacedText)}"# }
}
