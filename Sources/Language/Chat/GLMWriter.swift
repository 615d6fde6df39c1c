import Encoding

/// The rules of GLM-4.5 and its successors: the arguments of a call are keys and values; thoughts
/// stay until the user's next turn.
struct GLMWriter: ChatWriter {
    /// Which of the published rules.
    enum Kind: Equatable {
        /// GLM-4.5, 4.6: every part begins a line; the model begins a thought by itself.
        case lines
        /// GLM-4.7, GLM-4.7-Flash, GLM-5: an answer says at once whether it thinks.
        case dense
        /// GLM-5.1: as `dense`; a thought stays as it was written, an empty one too.
        case verbatim
        /// GLM-5.2: as `verbatim`, and the prompt says how hard to think.
        case effort(String?)
    }

    private(set) var prompt = ChatPrompt()
    private let kind: Kind
    private let thinks: Bool
    /// The last turn after which no thought stays by itself.
    private let lastUser: Int
    /// Whether the thoughts of all answers stay.
    private let keepsThoughts: Bool
    private let messages: [ChatMessage]
    private var turnCount = 0
    private var afterTool = false

    init(
        _ messages: [ChatMessage], tools: [ToolDeclaration], kind: Kind, thinks: Bool,
        keepsThoughts: Bool
    ) {
        self.kind = kind
        self.thinks = thinks
        self.keepsThoughts = keepsThoughts
        self.messages = messages
        lastUser = messages.lastIndex { $0.role == .user } ?? -1
        prompt.append(glm: .mask)
        prompt.append(glm: .start)
        if case .effort(let effort) = kind, thinks {
            prompt.append(glm: .system)
            prompt.append("Reasoning Effort: " + (effort == "high" ? "High" : "Max"))
        }
        if !tools.isEmpty { declare(tools) }
    }

    /// What stands between the parts of a turn.
    private var space: String { kind == .lines ? "\n" : "" }

    private mutating func declare(_ tools: [ToolDeclaration]) {
        prompt.append(glm: .system)
        prompt.append(
            """

            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>

            """)
        for tool in tools { prompt.append(line(tool)) }
        prompt.append(
            """
            </tools>

            For each function call, output the function name and arguments within the following \
            XML format:

            """)
        prompt.append(glm: .beginCall)
        prompt.append("{function-name}" + space)
        append(key: "{arg-key-1}", value: "{arg-value-1}")
        append(key: "{arg-key-2}", value: "{arg-value-2}")
        prompt.append("..." + space)
        prompt.append(glm: .endCall)
    }

    private func line(_ tool: ToolDeclaration) -> String {
        guard kind != .lines, kind != .dense else { return tool.function + "\n" }
        // What says how a tool is offered is not for the model.
        if tool.value["defer_loading"]?.bool == true { return "" }
        let members = (tool.value.object ?? []).filter {
            $0.key != "defer_loading" && $0.key != "strict"
        }
        return JSONValue.object(members).spacedText + "\n"
    }

    private mutating func append(key: String, value: String) {
        prompt.append(glm: .beginKey)
        prompt.append(key)
        prompt.append(glm: .endKey)
        prompt.append(space)
        prompt.append(glm: .beginValue)
        prompt.append(value)
        prompt.append(glm: .endValue)
        prompt.append(space)
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
            prompt.append(space + content)
        case .user: ask(content)
        case .tool:
            if !afterTool { prompt.append(glm: .observation) }
            prompt.append(space)
            prompt.append(glm: .beginResponse)
            prompt.append(space + content + space)
            prompt.append(glm: .endResponse)
        case .assistant: answer(message, open: open)
        }
    }

    private mutating func ask(_ content: String) {
        prompt.append(glm: .user)
        guard kind == .lines, !thinks else {
            prompt.append(space + content)
            return
        }
        let mark = GLMToken.noThinking
        prompt.append(space + (content.without(ending: mark.rawValue) ?? content))
        prompt.append(glm: mark)
    }

    private mutating func answer(_ message: ChatMessage, open: Bool) {
        prompt.append(glm: .assistant)
        prompt.append(space)
        let (thought, content) =
            open ? (message.reasoning, message.content ?? "") : parts(message)
        write(thought: turnCount > lastUser || keepsThoughts ? thought : nil)
        prompt.append(.endThinking)
        guard !open else {
            prompt.append(space + content)
            return
        }
        let words = content.stripped
        if !words.isEmpty { prompt.append(space + words) }
        for call in message.toolCalls {
            prompt.append(space)
            prompt.append(glm: .beginCall)
            prompt.append(call.name + space)
            for (key, value) in call.members { append(key: key, value: value.plainText) }
            prompt.append(glm: .endCall)
        }
    }

    /// Writes a thought that stays, up to the mark that ends it.
    private mutating func write(thought: String?) {
        switch kind {
        case .dense where thought?.isEmpty != false: break
        case .verbatim where thought == nil && !hasEmptyThought: break
        case .lines, .dense:
            prompt.append(.beginThinking)
            prompt.append((thought ?? "").stripped)
        case .verbatim, .effort:
            prompt.append(.beginThinking)
            prompt.append(thought ?? "")
        }
    }

    /// Whether GLM-5.1 writes an empty thought for this answer, which has none.
    private var hasEmptyThought: Bool {
        guard turnCount < lastUser else { return thinks }
        // Another answer to the same turn has one.
        guard keepsThoughts,
            let asked = messages[..<turnCount].lastIndex(where: { $0.role == .user })
        else { return false }
        return messages[(asked + 1)...].prefix { $0.role != .user }
            .contains { $0.role == .assistant && $0.reasoning != nil }
    }

    /// The thought of an answer, which its words may hold, and the words after it.
    private func parts(_ message: ChatMessage) -> (thought: String?, words: String) {
        let content = message.content ?? ""
        if let reasoning = message.reasoning { return (reasoning, content) }
        guard let (before, after) = content.thoughtParts else { return (nil, content) }
        let begin = ChatToken.beginThinking.rawValue
        guard kind == .lines || kind == .dense else { return (before.after(begin), after) }
        return (
            before.withoutLines(.end).after(begin).withoutLines(.start), after.withoutLines(.start)
        )
    }

    mutating func finish(generation: Bool) {
        guard generation else { return }
        prompt.append(glm: .assistant)
        switch kind {
        case .lines where thinks: break
        case .lines:
            prompt.append(space)
            prompt.append(.beginThinking)
            prompt.append(.endThinking)
        case .dense, .verbatim: prompt.append(thinks ? .beginThinking : .endThinking)
        case .effort:
            prompt.append(.beginThinking)
            if !thinks { prompt.append(.endThinking) }
        }
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
