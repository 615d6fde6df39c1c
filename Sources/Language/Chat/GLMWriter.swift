import Encoding

/// The rules of GLM-4.7-Flash: an answer says at once whether it thinks; the arguments of a call
/// are keys and values; thoughts stay until the user's next turn.
struct GLMWriter: ChatWriter {
    private(set) var prompt = ChatPrompt()
    private let thinks: Bool
    private let lastUser: Int
    private var turnCount = 0
    private var afterTool = false

    init(_ messages: [ChatMessage], tools: [ToolDeclaration], thinks: Bool) {
        self.thinks = thinks
        lastUser = messages.lastIndex { $0.role == .user } ?? -1
        prompt.append(glm: .mask)
        prompt.append(glm: .start)
        if !tools.isEmpty { declare(tools) }
    }

    private mutating func declare(_ tools: [ToolDeclaration]) {
        prompt.append(glm: .system)
        prompt.append(
            """

            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>

            """)
        for tool in tools { prompt.append(tool.function + "\n") }
        prompt.append(
            """
            </tools>

            For each function call, output the function name and arguments within the following \
            XML format:

            """)
        prompt.append(glm: .beginCall)
        prompt.append("{function-name}")
        append(key: "{arg-key-1}", value: "{arg-value-1}")
        append(key: "{arg-key-2}", value: "{arg-value-2}")
        prompt.append("...")
        prompt.append(glm: .endCall)
    }

    private mutating func append(key: String, value: String) {
        prompt.append(glm: .beginKey)
        prompt.append(key)
        prompt.append(glm: .endKey)
        prompt.append(glm: .beginValue)
        prompt.append(value)
        prompt.append(glm: .endValue)
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer {
            turnCount += 1
            afterTool = message.role == .tool
        }
        let content = message.content ?? ""
        switch message.role {
        case .system:
            prompt.append(glm: .system)
            prompt.append(content)
        case .user:
            prompt.append(glm: .user)
            prompt.append(content)
        case .tool:
            if !afterTool { prompt.append(glm: .observation) }
            prompt.append(glm: .beginResponse)
            prompt.append(content)
            prompt.append(glm: .endResponse)
        case .assistant: answer(message, open: open)
        }
    }

    private mutating func answer(_ message: ChatMessage, open: Bool) {
        prompt.append(glm: .assistant)
        guard !open else {
            prompt.append(.endThinking)
            prompt.append(message.content ?? "")
            return
        }
        let (thought, words) = Self.parts(message)
        if turnCount > lastUser, !thought.isEmpty {
            prompt.append(.beginThinking)
            prompt.append(Self.stripped(thought))
        }
        prompt.append(.endThinking)
        prompt.append(Self.stripped(words))
        for call in message.toolCalls {
            prompt.append(glm: .beginCall)
            prompt.append(call.name)
            for (key, value) in call.members { append(key: key, value: value.plainText) }
            prompt.append(glm: .endCall)
        }
    }

    /// The thought of an answer, which its words may hold, and the words after it.
    private static func parts(_ message: ChatMessage) -> (thought: String, words: String) {
        let content = message.content ?? ""
        if let reasoning = message.reasoning { return (reasoning, content) }
        let (begin, end) = (ChatToken.beginThinking.rawValue, ChatToken.endThinking.rawValue)
        guard let first = content.firstRange(of: end), let last = content.ranges(of: end).last
        else { return ("", content) }
        var thought = content[..<first.lowerBound]
        while thought.last == "\n" { thought.removeLast() }
        if let mark = thought.ranges(of: begin).last { thought = thought[mark.upperBound...] }
        return (
            String(thought.drop { $0 == "\n" }),
            String(content[last.upperBound...].drop { $0 == "\n" })
        )
    }

    private static func stripped(_ text: String) -> String {
        let words = text.drop(while: \.isWhitespace)
        guard let end = words.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(words[...end])
    }

    mutating func finish(generation: Bool) {
        guard generation else { return }
        prompt.append(glm: .assistant)
        prompt.append(thinks ? .beginThinking : .endThinking)
    }
}

extension ToolCall {
    /// The arguments of a call whose arguments are an object, in their order.
    var members: [(key: String, value: JSONValue)] {
        do { return try JSONValue.parse(arguments).object ?? [] } catch { return [] }
    }

    /// Whether the arguments are an object, which some rules of chats need.
    package var hasMembers: Bool {
        do { return try JSONValue.parse(arguments).object != nil } catch { return false }
    }
}

extension JSONValue {
    /// A text as it is, any other value as Python's `json.dumps` writes it.
    var plainText: String { string ?? spacedText }
}
