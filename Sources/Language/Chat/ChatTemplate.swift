import Encoding
public import Foundation

/// Writes a conversation as the prompt a DeepSeek model was trained on.
///
/// The rules are code of ours, not a template run from a file: a checkpoint's `chat_template` only
/// tells which of them it follows. For a conversation that Hugging Face's template accepts, the
/// text is the same, character for character.
public struct ChatTemplate: Sendable, Hashable {
    /// Whose rules.
    public enum Style: String, Sendable, Hashable, CaseIterable {
        /// DeepSeek-V3.
        case v3
        /// DeepSeek-R1: V3's rules; an answer begins with a thought.
        case r1
        /// DeepSeek-V3.1: an answer says at once whether it thinks; calls are bare JSON.
        case v31
    }

    /// Whose rules.
    public let style: Style

    /// The rules of `style`.
    public init(style: Style) { self.style = style }

    /// The rules of a checkpoint, known by its `chat_template`.
    ///
    /// - Parameter style: The rules of its family, where the template does not say.
    /// - Throws: `LanguageError.file` for a `tokenizer_config.json` that is not JSON.
    public init(directory: URL, otherwise style: Style) throws {
        let file = directory.appending(path: "tokenizer_config.json")
        guard let data = FileManager.default.contents(atPath: file.path) else {
            self.init(style: style)
            return
        }
        do {
            var reader = JSONReader([UInt8](data))
            let template = try reader.value()["chat_template"]?.string ?? ""
            let isV31 = template.contains("is_last_user")
            let isR1 = template.contains(#"<think>\n"#) || template.contains("<think>\n")
            self.init(style: isV31 ? .v31 : isR1 ? .r1 : style)
        } catch {
            throw LanguageError.file(file.path, fact: "\(error)")
        }
    }

    /// Renders a conversation.
    ///
    /// - Parameters:
    ///   - messages: The turns, oldest first.
    ///   - tools: Functions the assistant may call; described in a section that ends the system
    ///     prompt.
    ///   - thinking: Whether the answer is to begin with a thought; nil leaves it to the style
    ///     (R1 thinks, the others do not).
    ///   - addGenerationPrompt: Whether the prompt ends where an answer begins.
    public func render(
        _ messages: [ChatMessage], tools: [ToolDeclaration] = [], thinking: Bool? = nil,
        addGenerationPrompt: Bool = true
    ) -> ChatPrompt {
        var prompt = ChatPrompt()
        prompt.append(.beginningOfSequence)
        var system = messages.filter { $0.role == .system }.map { $0.content ?? "" }
        if !tools.isEmpty { system.append(toolSection(tools)) }
        prompt.append(system.joined(separator: "\n\n"))
        let last = messages.last
        let continues = addGenerationPrompt && last?.role == .assistant && last?.isPrefix == true
        switch style {
        case .v3, .r1:
            var writer = V3Writer(prompt: prompt)
            for message in messages { writer.write(message, open: continues && message == last) }
            writer.finish(
                generation: addGenerationPrompt && !continues,
                thinking: thinking ?? (style == .r1))
            return writer.prompt
        case .v31:
            var writer = V31Writer(prompt: prompt, thinking: thinking ?? false)
            for message in messages { writer.write(message, open: continues && message == last) }
            writer.finish(generation: addGenerationPrompt && !continues)
            return writer.prompt
        }
    }

    /// The system block that declares functions.
    ///
    /// The published templates have none: this one shows the format of a call exactly as the style
    /// writes it into a conversation.
    private func toolSection(_ tools: [ToolDeclaration]) -> String {
        let declarations = tools.map { tool in
            "### \(tool.name)\n```json\n\(tool.declaration)\n```"
        }
        let call =
            style == .v31
            ? "<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜>"
            : "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```"
                + "<｜tool▁call▁end｜>"
        return "## Tools\n\nThese functions can be called:\n\n"
            + declarations.joined(separator: "\n\n")
            + "\n\nTo call them, answer with their names and JSON arguments in this form, one call "
            + "after another:\n<｜tool▁calls▁begin｜>" + call + "<｜tool▁calls▁end｜>"
    }
}

/// DeepSeek-V3's rules, with the published template's two peculiarities kept, because that is
/// what the model is served with everywhere: only the conversation's first call and first tool
/// output open a section, and a user's turn does not close one.
private struct V3Writer {
    var prompt: ChatPrompt
    private var wroteCall = false
    private var wroteOutput = false
    private var afterTool = false

    init(prompt: ChatPrompt) { self.prompt = prompt }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        switch message.role {
        case .system: break
        case .user:
            afterTool = false
            prompt.append(.user)
            prompt.append(content)
        case .tool:
            if !wroteOutput { prompt.append(.beginOutputs) }
            wroteOutput = true
            afterTool = true
            prompt.append(.beginOutput)
            prompt.append(content)
            prompt.append(.endOutput)
        case .assistant where !message.toolCalls.isEmpty:
            afterTool = false
            for call in message.toolCalls { write(call, content) }
            prompt.append(.endCalls)
            prompt.append(.endOfSequence)
        case .assistant:
            prompt.append(afterTool ? .endOutputs : .assistant)
            prompt.append(afterTool ? content : ChatTemplate.answer(content))
            if !open { prompt.append(.endOfSequence) }
            afterTool = false
        }
    }

    private mutating func write(_ call: ToolCall, _ content: String) {
        if wroteCall {
            prompt.append("\n")
        } else {
            prompt.append(.assistant)
            prompt.append(content)
            prompt.append(.beginCalls)
        }
        wroteCall = true
        prompt.append(.beginCall)
        prompt.append(call.type)
        prompt.append(.separator)
        prompt.append("\(call.name)\n```json\n\(call.arguments)\n```")
        prompt.append(.endCall)
    }

    mutating func finish(generation: Bool, thinking: Bool) {
        if afterTool { prompt.append(.endOutputs) }
        guard generation && !afterTool else { return }
        prompt.append(.assistant)
        if thinking {
            prompt.append(.beginThinking)
            prompt.append("\n")
        }
    }
}

/// DeepSeek-V3.1's rules.
private struct V31Writer {
    var prompt: ChatPrompt
    let thinking: Bool
    private var afterUser = false
    private var afterTool = false

    init(prompt: ChatPrompt, thinking: Bool) {
        self.prompt = prompt
        self.thinking = thinking
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        switch message.role {
        case .system: return
        case .user:
            afterTool = false
            prompt.append(.user)
            prompt.append(content)
        case .tool:
            afterTool = true
            prompt.append(.beginOutput)
            prompt.append(content)
            prompt.append(.endOutput)
        case .assistant where !message.toolCalls.isEmpty:
            if afterUser { begin(thinking: false) }
            afterTool = false
            prompt.append(content)
            prompt.append(.beginCalls)
            for call in message.toolCalls {
                prompt.append(.beginCall)
                prompt.append(call.name)
                prompt.append(.separator)
                prompt.append(call.arguments)
                prompt.append(.endCall)
            }
            prompt.append(.endCalls)
            prompt.append(.endOfSequence)
        case .assistant:
            if afterUser { begin(thinking: message.isPrefix && thinking) }
            prompt.append(afterTool ? content : ChatTemplate.answer(content, afterFirst: true))
            if !open { prompt.append(.endOfSequence) }
            afterTool = false
        }
        afterUser = message.role == .user
    }

    private mutating func begin(thinking: Bool) {
        prompt.append(.assistant)
        prompt.append(thinking ? .beginThinking : .endThinking)
    }

    mutating func finish(generation: Bool) {
        if generation && afterUser && !afterTool { begin(thinking: thinking) }
    }
}

extension ChatTemplate {
    /// What an earlier turn keeps of an answer: not the thought.
    ///
    /// V3 cuts after the last `</think>`, V3.1 after the first.
    static func answer(_ content: String, afterFirst: Bool = false) -> String {
        let mark = ChatToken.endThinking.rawValue
        let range = content.range(of: mark, options: afterFirst ? [] : .backwards)
        return range.map { String(content[$0.upperBound...]) } ?? content
    }
}
