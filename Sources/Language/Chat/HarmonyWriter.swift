import Encoding
import Foundation

/// gpt-oss's rules: every message has a header with its author and channel, the first one says the
/// date and how hard to think; thoughts stay until an answer without calls.
///
/// The template writes one call per turn. A turn of several is written as that many turns, each
/// with its result behind it. A turn with a thought, words and calls, which the template refuses,
/// has its words in the channel for them.
struct HarmonyWriter: ChatWriter {
    private(set) var prompt = ChatPrompt()
    /// The last answer without calls: thoughts up to there are dropped.
    private let lastAnswer: Int
    private let turns: Int
    private var turnCount = 0
    /// The function of the call that was written last, and whether its result was.
    private var called: String?
    private var isAnswered = false
    /// The calls of the turn that are still to be written.
    private var waiting: [ToolCall] = []
    /// The last turn, where it is an answer: it ends otherwise if no other answer is to begin.
    private var last: ChatMessage?

    init(_ messages: [ChatMessage], tools: [ToolDeclaration], effort: String?, date: String) {
        turns = messages.count
        lastAnswer = messages.lastIndex { $0.role == .assistant && $0.toolCalls.isEmpty } ?? -1
        prompt.append(harmony: .start)
        prompt.append("system")
        prompt.append(harmony: .message)
        prompt.append(
            """
            You are ChatGPT, a large language model trained by OpenAI.
            Knowledge cutoff: 2024-06
            Current date: \(date)

            Reasoning: \(Self.effort(effort))

            # Valid channels: analysis, commentary, final. \
            Channel must be included for every message.
            """)
        if !tools.isEmpty {
            prompt.append(
                "\nCalls to these tools must go to the commentary channel: 'functions'.")
        }
        prompt.append(harmony: .end)
        let first = messages.first.flatMap { $0.role == .system ? $0.content : nil } ?? ""
        guard !first.isEmpty || !tools.isEmpty else { return }
        prompt.append(harmony: .start)
        prompt.append("developer")
        prompt.append(harmony: .message)
        if !first.isEmpty { prompt.append("# Instructions\n\n\(first)\n\n") }
        if !tools.isEmpty {
            let declarations = tools.map { TypeScriptText.declaration($0) }.joined()
            prompt.append(
                "# Tools\n\n## functions\n\nnamespace functions {\n\n\(declarations)"
                    + "} // namespace functions")
        }
        prompt.append(harmony: .end)
    }

    /// The template's word for an effort: the model knows three.
    static func effort(_ word: String?) -> String {
        switch word {
        case "low", "minimal", "none": "low"
        case "high", "xhigh", "max": "high"
        default: "medium"
        }
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer { turnCount += 1 }
        let content = message.content ?? ""
        if message.role != .tool { writeWaiting() }
        switch message.role {
        case .system: break  // stands in the prompt's head; `fault` refuses others
        case .user:
            prompt.append(harmony: .start)
            prompt.append("user")
            prompt.append(harmony: .message)
            prompt.append(content)
            prompt.append(harmony: .end)
        case .tool:
            if isAnswered, !waiting.isEmpty { call(waiting.removeFirst()) }
            isAnswered = true
            begin("functions.\(called ?? "unknown") to=assistant", "commentary")
            prompt.append(JSONValue.string(content).spacedText)
            prompt.append(harmony: .end)
        case .assistant where !message.toolCalls.isEmpty:
            writeThoughts(message, content)
            waiting = message.toolCalls
            call(waiting.removeFirst())
        case .assistant where open:
            begin("assistant", "final")
            prompt.append(content)
        case .assistant where turnCount + 1 == turns: last = message
        case .assistant: say(content, "final", .end)
        }
    }

    /// What a turn says before its calls.
    private mutating func writeThoughts(_ message: ChatMessage, _ content: String) {
        let thought = message.reasoning ?? ""
        if turnCount > lastAnswer, !content.isEmpty || !thought.isEmpty {
            say(thought.isEmpty ? content : thought, "analysis", .end)
        }
        if !content.isEmpty, !thought.isEmpty { say(content, "commentary", .end) }
    }

    private mutating func begin(_ author: String, _ channel: String) {
        prompt.append(harmony: .start)
        prompt.append(author)
        prompt.append(harmony: .channel)
        prompt.append(channel)
        prompt.append(harmony: .message)
    }

    private mutating func say(_ text: String, _ channel: String, _ end: HarmonyToken) {
        begin("assistant", channel)
        prompt.append(text)
        prompt.append(harmony: end)
    }

    private mutating func call(_ call: ToolCall) {
        begin("assistant to=functions.\(call.name)", "commentary json")
        let value: JSONValue
        do { value = try JSONValue.parse(call.arguments) } catch { value = .string(call.arguments) }
        prompt.append(value.spacedText)
        prompt.append(harmony: .call)
        called = call.name
        isAnswered = false
    }

    private mutating func writeWaiting() {
        while !waiting.isEmpty { call(waiting.removeFirst()) }
    }

    mutating func finish(generation: Bool) {
        writeWaiting()
        if let last {
            if !generation, let thought = last.reasoning { say(thought, "analysis", .end) }
            say(last.content ?? "", "final", generation ? .end : .return)
        }
        guard generation else { return }
        prompt.append(harmony: .start)
        prompt.append(Self.assistant)
    }

    /// Begins the header of an answer.
    static let assistant = "assistant"
}

extension ChatTemplate {
    /// Today in UTC, as `2025-06-28`.
    public static func today() -> String { Date().formatted(.iso8601.year().month().day()) }

    /// What a prompt that ends where an answer begins has after the token that begins messages, in
    /// a style of messages.
    package static var answerAuthor: String { HarmonyWriter.assistant }
}
