import Encoding

/// MiniMax-M2's rules: every turn begins with one token and its role, an answer with a thought;
/// thoughts stay until the user's next turn.
struct MiniMaxWriter: ChatWriter {
    private(set) var prompt = ChatPrompt()
    private let thinks: Bool
    private let roles: [ChatMessage.Role]
    private let lastUser: Int
    private var turnCount = 0

    /// - Parameter words: The system's where a conversation has none; each release has others.
    init(
        _ messages: [ChatMessage], tools: [ToolDeclaration], thinks: Bool,
        words: String = "You are a helpful assistant."
    ) {
        self.thinks = thinks
        roles = messages.map(\.role)
        lastUser = messages.lastIndex { $0.role == .user } ?? -1
        let first = messages.first.flatMap { $0.role == .system ? $0.content : nil } ?? ""
        prompt.append(token: MiniMaxToken.beginning.rawValue)
        begin("system")
        prompt.append(first.isEmpty ? words : first)
        if !tools.isEmpty { declare(tools) }
        rules("[e~[\n")
    }

    private mutating func begin(_ role: String) {
        prompt.append(token: MiniMaxToken.start.rawValue)
        prompt.append(role + "\n")
    }

    private mutating func rules(_ text: String) {
        prompt.append(rules: text, tokens: MiniMaxToken.allCases.map(\.rawValue))
    }

    private mutating func declare(_ tools: [ToolDeclaration]) {
        prompt.append(
            """


            # Tools
            You may call one or more tools to assist with the user query.
            Here are the tools available in JSONSchema format:

            <tools>

            """)
        for tool in tools { prompt.append("<tool>\(tool.value.spacedText)</tool>\n") }
        rules(
            """
            </tools>

            When making tool calls, use XML format to invoke tools and pass parameters:

            <minimax:tool_call>
            <invoke name="tool-name-1">
            <parameter name="param-key-1">param-value-1</parameter>
            <parameter name="param-key-2">param-value-2</parameter>
            ...
            </invoke>
            </minimax:tool_call>
            """)
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer { turnCount += 1 }
        let content = message.content ?? ""
        switch message.role {
        case .system: break  // stands in the prompt's head; `fault` refuses others
        case .user:
            begin("user")
            prompt.append(content)
            rules("[e~[\n")
        case .assistant: answer(message, open: open)
        case .tool:
            if turnCount == 0 || roles[turnCount - 1] != .tool {
                prompt.append(token: MiniMaxToken.start.rawValue)
                prompt.append("tool")
            }
            prompt.append("\n<response>\(content)</response>")
            if turnCount + 1 == roles.count || roles[turnCount + 1] != .tool { rules("[e~[\n") }
        }
    }

    private mutating func answer(_ message: ChatMessage, open: Bool) {
        begin("ai")
        let (thought, words) = Self.parts(message)
        if turnCount > lastUser, !thought.isEmpty {
            rules("<think>\n")
            prompt.append(thought)
            rules("\n</think>\n\n")
        }
        prompt.append(words)
        if !message.toolCalls.isEmpty {
            rules("\n<minimax:tool_call>\n")
            for call in message.toolCalls {
                prompt.append("<invoke name=\"\(call.name)\">\n")
                for (key, value) in call.members {
                    prompt.append("<parameter name=\"\(key)\">\(value.plainText)</parameter>\n")
                }
                prompt.append("</invoke>\n")
            }
            rules("</minimax:tool_call>")
        }
        if !open { rules("[e~[\n") }
    }

    /// The thought of an answer, which its words may hold, and the words after it.
    private static func parts(_ message: ChatMessage) -> (thought: String, words: String) {
        let content = message.content ?? ""
        if let reasoning = message.reasoning { return (reasoning, content) }
        guard let (before, after) = content.thoughtParts else { return ("", content) }
        return (
            before.withoutLines(.both).after(ChatToken.beginThinking.rawValue).withoutLines(.both),
            after.withoutLines(.both)
        )
    }

    mutating func finish(generation: Bool) {
        guard generation else { return }
        begin("ai")
        rules(thinks ? "<think>\n" : "<think>\n\n</think>\n\n")
    }
}
