import Encoding

/// Writes a conversation as the prompt a model was trained on.
///
/// The rules are code of ours, not a template run from a file: a checkpoint's template only tells
/// which of them it follows. For a conversation that Hugging Face's template accepts, the text is
/// the same, character for character.
public struct ChatTemplate: Sendable, Hashable {
    /// Whose rules.
    public enum Style: String, Sendable, Hashable, CaseIterable {
        /// DeepSeek-V2: turns of plain words; no tools.
        case v2
        /// DeepSeek-V3.
        case v3
        /// DeepSeek-V3-0324: each turn has sections of its own for calls and results.
        case v30324 = "v3-0324"
        /// DeepSeek-R1: V3's rules; an answer begins with a thought.
        case r1
        /// DeepSeek-R1-0528: V3-0324's rules, without the thoughts of earlier answers.
        case r10528 = "r1-0528"
        /// DeepSeek-V3.1: an answer says at once whether it thinks; calls are bare JSON.
        case v31 = "v3.1"
        /// DeepSeek-V3.2: calls and results between marks as of XML; thoughts as V3.1's.
        case v32 = "v3.2"
        /// Kimi-K2-Instruct: every turn names its speaker; calls are numbered.
        case kimiK2 = "kimi-k2"
        /// Kimi-K2-Thinking: the same, with thoughts.
        case kimiK2Thinking = "kimi-k2-thinking"
        /// Kimi-K2.5, K2.6: the same; an answer says at once whether it thinks, and tools are
        /// declared as types.
        case kimiK25 = "kimi-k2.5"
        /// GLM-4.5, 4.6: calls are keys and values, a line each; the model begins a thought.
        case glm45 = "glm-4.5"
        /// GLM-4.7, 4.7-Flash, GLM-5: the same without lines; an answer says at once whether it
        /// thinks.
        case glm47 = "glm-4.7-flash"
        /// GLM-5.1: the same; thoughts stay as they were written.
        case glm51 = "glm-5.1"
        /// GLM-5.2: the same; the prompt says how hard to think.
        case glm52 = "glm-5.2"
        /// Qwen3: calls are JSON; an empty thought in the prompt keeps an answer from thinking.
        case qwen3 = "qwen3"
        /// Qwen3-Instruct-2507: the same, without thoughts.
        case qwen3Instruct = "qwen3-instruct-2507"
        /// Qwen3-Thinking-2507: the same; an answer begins with a thought.
        case qwen3Thinking = "qwen3-thinking-2507"
        /// Qwen3-Coder: calls are between marks as of XML; no thoughts.
        case qwen3Coder = "qwen3-coder"
        /// MiniMax-M2: calls are between marks as of XML; an answer begins with a thought.
        case minimaxM2 = "minimax-m2"
        /// gpt-oss: messages in channels (harmony); the prompt says the date and how hard to think.
        case gptOss = "gpt-oss"
        /// DeepSeek-V3's marks and nothing else: the stories model of this project.
        case plain

        /// The style of this name.
        ///
        /// - Throws: `LanguageError.request` with the names that are known.
        public init(named name: String) throws(LanguageError) {
            guard let style = Style(rawValue: name) else {
                throw .request(
                    "chat style \(name.printable()) is none of "
                        + Self.allCases.map(\.rawValue).joined(separator: ", "))
            }
            self = style
        }
    }

    /// How a published text departs from the one that its style is named for.
    enum Variant: Sendable, Hashable {
        case none
        /// Moonshot's own text: tools are JSON with keys in order and no space, and thoughts stay
        /// after the last answer without calls. The style's is that of llama.cpp.
        case moonshot
        /// A conversation without words of the system begins with these.
        case system(String)
    }

    /// Whose rules.
    public let style: Style
    let variant: Variant

    /// The rules of `style`.
    public init(style: Style) { self.init(style: style, variant: .none) }

    init(style: Style, variant: Variant) {
        self.style = style
        self.variant = variant
    }

    /// How a model of this style writes calls; nil for one that has none.
    public var callForm: CallForm? {
        switch style {
        case .v2: nil
        case .v31: .bare
        case .v32: .marked
        case .kimiK2, .kimiK2Thinking, .kimiK25: .numbered
        case .glm45, .glm47, .glm51, .glm52: .keyed
        case .qwen3, .qwen3Instruct, .qwen3Thinking: .object
        case .qwen3Coder: .tagged
        case .minimaxM2: .invoked
        case .gptOss: .channeled
        case .v3, .v30324, .r1, .r10528, .plain: .fenced
        }
    }

    /// Whether chats can be asked to think (`true`) or not to (`false`).
    public func canThink(_ thinking: Bool) -> Bool {
        switch style {
        case .v31, .v32, .kimiK25, .glm45, .glm47, .glm51, .glm52, .r1, .qwen3: true
        case .r10528, .kimiK2Thinking, .qwen3Thinking, .minimaxM2, .gptOss: thinking
        case .v2, .v3, .v30324, .kimiK2, .qwen3Instruct, .qwen3Coder, .plain: !thinking
        }
    }

    /// Whether chats can be asked to keep the thoughts of earlier answers.
    public var canKeepThoughts: Bool {
        [.kimiK25, .glm47, .glm51, .glm52].contains(style)
    }

    /// Renders a conversation.
    ///
    /// - Parameters:
    ///   - messages: The turns, oldest first.
    ///   - tools: Functions the assistant may call; described in a section that ends the system
    ///     prompt.
    ///   - thinking: Whether the answer is to begin with a thought; nil leaves it to the style
    ///     (R1, Kimi-K2.5, GLM and Qwen3 think, V3.1 and V3.2 do not). A style that has no such
    ///     beginning passes it over.
    ///   - effort: How hard to think, in the template's own words; other words mean its default.
    ///     GLM-5.2's has such words (`high`; else `Max`), and gpt-oss's (`HarmonyWriter.effort`).
    ///   - date: The day that the prompt says, as `2025-06-28`; only gpt-oss's prompts say one. Nil
    ///     takes today's, in UTC.
    ///   - keepsThoughts: Whether the thoughts of all earlier answers stay, not only those that the
    ///     style keeps by itself; a style that has no such switch passes it over.
    ///   - addGenerationPrompt: Whether the prompt ends where an answer begins.
    public func render(
        _ messages: [ChatMessage], tools: [ToolDeclaration] = [], thinking: Bool? = nil,
        effort: String? = nil, date: String? = nil, keepsThoughts: Bool = false,
        addGenerationPrompt: Bool = true
    ) -> ChatPrompt {
        var writer: any ChatWriter =
            style == .gptOss
            ? HarmonyWriter(
                messages, tools: tools, effort: effort, date: date ?? Self.today())
            : writer(messages, tools, thinking, effort, keepsThoughts)
        let last = messages.indices.last
        let isOpen =
            addGenerationPrompt && messages.last?.role == .assistant
            && messages.last?.isPrefix == true
        for (index, message) in messages.enumerated() {
            writer.write(message, open: isOpen && index == last)
        }
        writer.finish(generation: addGenerationPrompt && !isOpen)
        return writer.prompt
    }

    private func writer(
        _ messages: [ChatMessage], _ tools: [ToolDeclaration], _ thinking: Bool?,
        _ effort: String?, _ keepsThoughts: Bool
    ) -> any ChatWriter {
        var prompt = ChatPrompt()
        switch style {
        case .v3, .v30324, .r1, .r10528, .v31:
            prompt.append(.beginningOfSequence)
            writeSystem(messages, tools, into: &prompt)
        case .v2, .v32, .plain: prompt.append(.beginningOfSequence)
        default: return writerOfOthers(messages, tools, thinking, effort, keepsThoughts)
        }
        return switch style {
        case .v32:
            V32Writer(messages, tools: tools, prompt: prompt, thinks: thinking ?? false)
        case .v2: V2Writer(prompt: prompt)
        case .plain: PlainWriter(prompt: prompt, tools: toolSection(tools))
        case .v3, .r1: V3Writer(prompt: prompt, thinks: style == .r1 && thinking != false)
        case .v30324, .r10528:
            TurnWriter(prompt: prompt, cutsThoughts: style == .r10528)
        default: V31Writer(prompt: prompt, thinking: thinking ?? false)
        }
    }

    /// The rules of families other than DeepSeek's.
    private func writerOfOthers(
        _ messages: [ChatMessage], _ tools: [ToolDeclaration], _ thinking: Bool?,
        _ effort: String?, _ keepsThoughts: Bool
    ) -> any ChatWriter {
        let thinks = thinking ?? true
        func glm(_ kind: GLMWriter.Kind) -> GLMWriter {
            GLMWriter(
                messages, tools: tools, kind: kind, thinks: thinks,
                keepsThoughts: keepsThoughts && canKeepThoughts)
        }
        func qwen(_ kind: QwenWriter.Kind) -> QwenWriter {
            QwenWriter(messages, tools: tools, kind: kind, thinks: thinks)
        }
        func kimi(_ kind: KimiWriter.Kind) -> KimiWriter {
            KimiWriter(
                messages, tools: tools, kind: kind, isMoonshots: variant == .moonshot,
                thinks: thinks, keepsThoughts: keepsThoughts && canKeepThoughts)
        }
        return switch style {
        case .kimiK2Thinking: kimi(.thinking)
        case .kimiK25: kimi(.hybrid)
        case .glm45: glm(.lines)
        case .glm47: glm(.dense)
        case .glm51: glm(.verbatim)
        case .glm52: glm(.effort(effort))
        case .qwen3: qwen(.hybrid)
        case .qwen3Instruct: qwen(.instruct)
        case .qwen3Thinking: qwen(.thinking)
        case .qwen3Coder: QwenCoderWriter(messages, tools: tools)
        case .minimaxM2:
            if case .system(let words) = variant {
                MiniMaxWriter(messages, tools: tools, thinks: thinks, words: words)
            } else {
                MiniMaxWriter(messages, tools: tools, thinks: thinks)
            }
        default: kimi(.instruct)
        }
    }

    private func writeSystem(
        _ messages: [ChatMessage], _ tools: [ToolDeclaration], into prompt: inout ChatPrompt
    ) {
        let system = messages.filter { $0.role == .system }.map { $0.content ?? "" }
        prompt.append(system.joined(separator: "\n\n"))
        guard let section = toolSection(tools) else { return }
        if !system.isEmpty { prompt.append("\n\n") }
        prompt.append(section)
    }

    private func toolSection(_ tools: [ToolDeclaration]) -> ChatPrompt? {
        guard !tools.isEmpty, let callForm else { return nil }
        return callForm.section(tools)
    }
}

/// The rules of one family for the turns of a conversation.
protocol ChatWriter {
    var prompt: ChatPrompt { get }

    /// - Parameter open: Whether the turn is to be continued, so that nothing may end it.
    mutating func write(_ message: ChatMessage, open: Bool)

    /// - Parameter generation: Whether an answer is to begin.
    mutating func finish(generation: Bool)
}

extension ChatMessage {
    /// An assistant's words without the thought, which ends with the last `</think>`.
    var answer: String {
        (content ?? "").after(ChatToken.endThinking.rawValue)
    }
}
