import Encoding

/// Qwen3's rules and those of its two successors: calls are JSON between marks, results are turns
/// of the user.
struct QwenWriter: ChatWriter {
    /// Which of Qwen3's published rules.
    enum Kind {
        /// Qwen3: thinks, unless an empty thought stands at the beginning of the answer.
        case hybrid
        /// Qwen3-Instruct-2507: no thoughts; what looks like one stays.
        case instruct
        /// Qwen3-Thinking-2507: the prompt begins a thought.
        case thinking
    }

    private(set) var prompt = ChatPrompt()
    private let kind: Kind
    private let thinks: Bool
    private let roles: [ChatMessage.Role]
    /// The last turn of the user that is not a tool's result in words.
    private let lastQuery: Int
    private var turnCount = 0

    init(_ messages: [ChatMessage], tools: [ToolDeclaration], kind: Kind, thinks: Bool) {
        self.kind = kind
        self.thinks = thinks
        roles = messages.map(\.role)
        lastQuery =
            messages.lastIndex { $0.role == .user && !Self.isResult($0.content ?? "") }
            ?? messages.count - 1
        let system = messages.first.flatMap { $0.role == .system ? $0.content ?? "" : nil }
        if !tools.isEmpty {
            declare(tools, system)
        } else if let system {
            turn("system\n", system)
        }
    }

    private static func isResult(_ text: String) -> Bool {
        text.utf8.starts(with: QwenToken.beginResponse.rawValue.utf8)
            && text.without(ending: QwenToken.endResponse.rawValue) != nil
    }

    private mutating func declare(_ tools: [ToolDeclaration], _ system: String?) {
        prompt.append(qwen: .start)
        prompt.append("system\n")
        if let system { prompt.append(system + "\n\n") }
        prompt.append(
            """
            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>
            """)
        for tool in tools { prompt.append("\n" + tool.function) }
        rules(
            """

            </tools>

            For each function call, return a json object with function name and arguments within \
            <tool_call></tool_call> XML tags:
            <tool_call>
            {"name": <function-name>, "arguments": <args-json-object>}
            </tool_call><|im_end|>

            """)
    }

    private mutating func rules(_ text: String) {
        prompt.append(rules: text, tokens: QwenToken.allCases.map(\.rawValue))
    }

    private mutating func turn(_ role: String, _ content: String) {
        prompt.append(qwen: .start)
        prompt.append(role + content)
        rules("<|im_end|>\n")
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer { turnCount += 1 }
        let content = message.content ?? ""
        switch message.role {
        case .system where turnCount == 0: break  // stands in the prompt's head
        case .system, .user: turn(message.role.rawValue + "\n", content)
        case .assistant: answer(message, open: open)
        case .tool:
            if turnCount == 0 || roles[turnCount - 1] != .tool {
                prompt.append(qwen: .start)
                prompt.append("user")
            }
            rules("\n<tool_response>\n")
            prompt.append(content)
            rules("\n</tool_response>")
            if turnCount + 1 == roles.count || roles[turnCount + 1] != .tool {
                rules("<|im_end|>\n")
            }
        }
    }

    private mutating func answer(_ message: ChatMessage, open: Bool) {
        let (thought, content) =
            kind == .instruct ? ("", message.content ?? "") : Self.parts(message)
        prompt.append(qwen: .start)
        prompt.append(Self.assistant)
        let isLast = turnCount + 1 == roles.count
        if kind != .instruct, turnCount > lastQuery, isLast || !thought.isEmpty {
            rules("<think>\n")
            prompt.append(thought.withoutLines(.both))
            rules("\n</think>\n\n")
            prompt.append(content.withoutLines(.start))
        } else {
            prompt.append(content)
        }
        for (index, call) in message.toolCalls.enumerated() {
            if index > 0 || !content.isEmpty { prompt.append("\n") }
            prompt.append(call, in: .object)
        }
        if !open { rules("<|im_end|>\n") }
    }

    /// Begins the assistant's turn.
    static let assistant = "assistant\n"

    /// The thought of an answer, which its words may hold, and the words after it.
    private static func parts(_ message: ChatMessage) -> (thought: String, words: String) {
        let content = message.content ?? ""
        if let reasoning = message.reasoning { return (reasoning, content) }
        guard let (before, after) = content.thoughtParts else { return ("", content) }
        return (
            before.withoutLines(.end).after(ChatToken.beginThinking.rawValue).withoutLines(.start),
            after.withoutLines(.start)
        )
    }

    mutating func finish(generation: Bool) {
        guard generation else { return }
        prompt.append(qwen: .start)
        prompt.append(Self.assistant)
        switch kind {
        case .instruct: break
        case .hybrid where thinks: break
        case .thinking where thinks: rules("<think>\n")
        case .hybrid, .thinking: rules("<think>\n\n</think>\n\n")
        }
    }
}

extension String {
    /// The ends of a text.
    enum End { case start, end, both }

    /// The text without the line breaks at its ends.
    func withoutLines(_ ends: End) -> String {
        var scalars = unicodeScalars[...]
        if ends != .end { scalars = scalars.drop { $0 == "\n" } }
        while ends != .start, scalars.last == "\n" { scalars.removeLast() }
        return String(scalars)
    }

    /// What stands before the first mark that ends a thought and after the last one; nil without
    /// such a mark.
    var thoughtParts: (before: String, after: String)? {
        let places = places(of: ChatToken.endThinking.rawValue)
        guard let first = places.first, let last = places.last else { return nil }
        return (String(self[..<first.lowerBound]), String(self[last.upperBound...]))
    }

    /// What stands after the last of these marks; all of it without one.
    func after(_ mark: String) -> String {
        places(of: mark).last.map { String(self[$0.upperBound...]) } ?? self
    }

    /// Where a mark stands, byte by byte: a combining character after a mark does not hide it.
    func places(of mark: String) -> [Range<String.Index>] { utf8.ranges(of: mark.utf8) }

    /// The text before its end, where it ends with these bytes; else nil.
    func without(ending: String) -> String? {
        guard utf8.suffix(ending.utf8.count).elementsEqual(ending.utf8) else { return nil }
        return String(decoding: utf8.dropLast(ending.utf8.count), as: UTF8.self)
    }

    /// The text without the white space at its ends, as Python's `strip` knows white space.
    var stripped: String {
        func isSpace(_ scalar: Unicode.Scalar) -> Bool {
            scalar.properties.isWhitespace || (0x1C ... 0x1F).contains(scalar.value)
        }
        var scalars = unicodeScalars[...].drop(while: isSpace)
        while let last = scalars.last, isSpace(last) { scalars.removeLast() }
        return String(scalars)
    }
}
