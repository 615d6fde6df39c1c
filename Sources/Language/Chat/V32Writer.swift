import Encoding

/// DeepSeek-V3.2's rules: V3.1's turns, calls and results between marks as of XML, and thoughts
/// that stay until the user's next turn.
struct V32Writer: ChatWriter {
    private(set) var prompt: ChatPrompt
    private let thinks: Bool
    private let lastUser: Int
    private var turnCount = 0
    /// What an answer that comes now begins with.
    private var awaited = Awaited.nothing
    /// Results that the last turn of calls awaits, and those that came.
    private var (callCount, resultCount) = (0, 0)

    private enum Awaited { case nothing, answer, answerToResults }

    init(_ messages: [ChatMessage], tools: [ToolDeclaration], prompt: ChatPrompt, thinks: Bool) {
        self.prompt = prompt
        self.thinks = thinks
        lastUser = messages.lastIndex { $0.role == .user } ?? -1
        let system = messages.filter { $0.role == .system }.map { $0.content ?? "" }
            .joined(separator: "\n\n")
        self.prompt.append(system)
        guard !tools.isEmpty else { return }
        if !system.isEmpty { self.prompt.append("\n\n") }
        marked(Self.header)
        for tool in tools { self.prompt.append(tool.value.spacedText + "\n") }
        self.prompt.append("</functions>\n")
    }

    /// A token of its own, where the tokenizer has it.
    static let mark = "｜DSML｜"

    /// Writes words of the rules, in which the mark is the model's.
    private mutating func marked(_ text: String) {
        prompt.append(rules: text, tokens: [Self.mark])
    }

    private static let header = """
        ## Tools

        You have access to a set of tools you can use to answer the user's question.
        You can invoke functions by writing a "<\(mark)function_calls>" block like the following \
        as part of your reply to the user:
        <\(mark)function_calls>
        <\(mark)invoke name="$FUNCTION_NAME">
        <\(mark)parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE\
        </\(mark)parameter>
        ...
        </\(mark)invoke>
        <\(mark)invoke name="$FUNCTION_NAME2">
        ...
        </\(mark)invoke>
        </\(mark)function_calls>

        String and scalar parameters should be specified as is without any escaping or quotes, \
        while lists and objects should use JSON format. The "string" attribute should be set to \
        "true" for string type parameters and "false" for other types (numbers, booleans, arrays, \
        objects).

        If the thinking_mode is enabled, then after function results you should strongly consider \
        outputting a thinking block. Here is an example:

        <\(mark)function_calls>
        ...
        </\(mark)function_calls>

        <function_results>
        ...
        </function_results>

        <think>...thinking about results</think>

        Here are the functions available in JSONSchema format:
        <functions>

        """

    mutating func write(_ message: ChatMessage, open: Bool) {
        defer { turnCount += 1 }
        let content = message.content ?? ""
        switch message.role {
        case .system: return
        case .user:
            prompt.append(.user)
            prompt.append(content)
            awaited = .answer
        case .tool: result(content)
        case .assistant:
            begin(open ? nil : message.reasoning, thinks: thinks && turnCount > lastUser && !open)
            prompt.append(content)
            if !message.toolCalls.isEmpty { write(message.toolCalls) }
            if !open { prompt.append(.endOfSequence) }
        }
    }

    /// Begins an answer, with its thought.
    private mutating func begin(_ thought: String?, thinks: Bool) {
        switch awaited {
        case .nothing: return
        case .answer: prompt.append(.assistant)
        case .answerToResults: prompt.append("\n\n")
        }
        awaited = .nothing
        if thinks {
            prompt.append(.beginThinking)
            prompt.append(thought ?? "")
        }
        prompt.append(.endThinking)
    }

    private mutating func write(_ calls: [ToolCall]) {
        (callCount, resultCount) = (calls.count, 0)
        let mark = Self.mark
        marked("\n\n<\(mark)function_calls>\n")
        for call in calls {
            marked("<\(mark)invoke name=\"")
            prompt.append(call.name + "\">\n")
            for (key, value) in call.members {
                marked("<\(mark)parameter name=\"")
                prompt.append("\(key)\" string=\"\(value.string != nil)\">\(value.plainText)")
                marked("</\(mark)parameter>\n")
            }
            marked("</\(mark)invoke>\n")
        }
        marked("</\(mark)function_calls>")
    }

    private mutating func result(_ content: String) {
        resultCount += 1
        if resultCount == 1 { prompt.append("\n\n<function_results>") }
        prompt.append("\n<result>\(content)</result>")
        guard resultCount == callCount else { return }
        prompt.append("\n</function_results>")
        awaited = .answerToResults
    }

    mutating func finish(generation: Bool) {
        guard generation, awaited != .nothing else { return }
        prompt.append(awaited == .answer ? "" : "\n\n")
        if awaited == .answer { prompt.append(.assistant) }
        prompt.append(.beginThinking)
        if !thinks { prompt.append(.endThinking) }
    }
}
