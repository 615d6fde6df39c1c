import Testing

@testable import Language

/// Rules of chats beyond what the published templates' cases show.
@Suite struct ChatRuleTests {
    private let user = ChatMessage(role: .user, content: "Count.")

    @Test func `a system turn that MiniMax's template leaves out is refused`() {
        let system = ChatMessage(role: .system, content: "Be kind.")
        let rules = ChatTemplate(style: .minimaxM2)
        #expect(rules.fault(in: [system, user]) == nil)
        for wrong in [[system, system, user], [user, system]] {
            #expect(rules.fault(in: wrong)?.contains("messages[1] ") == true)
        }
    }

    @Test func `results that a prompt needs are not left out`() {
        let call = ToolCall(name: "f", arguments: "{}")
        let calls = ChatMessage(role: .assistant, content: "", toolCalls: [call, call])
        let result = ChatMessage(role: .tool, content: "1")
        let answer = ChatMessage(role: .assistant, content: "Done.")
        for style in [ChatTemplate.Style.kimiK2, .kimiK25, .glm45, .glm47, .glm51, .glm52, .v32] {
            let rules = ChatTemplate(style: style)
            #expect(rules.fault(in: [user, calls, result, result]) == nil)
            #expect(rules.fault(in: [user, calls, result, result, answer, user]) == nil)
            for wrong in [
                [user, calls, result], [user, calls], [user, calls, result, user], [user, result],
                [user, calls, result, result, result],
            ] { #expect(rules.fault(in: wrong) != nil, "\(style) \(wrong.map(\.role))") }
        }
        #expect(ChatTemplate(style: .v32).fault(in: [user, answer]) != nil)
        for style in [ChatTemplate.Style.v3, .qwen3, .qwen3Coder, .minimaxM2] {
            #expect(ChatTemplate(style: style).fault(in: [user, calls, result, user]) == nil)
        }
        for style in [ChatTemplate.Style.qwen3Coder, .minimaxM2, .gptOss] {
            #expect(ChatTemplate(style: style).fault(in: [user, result]) != nil)
        }
    }

    @Test func `an answer of GLM that goes on keeps its thought`() {
        let begun = ChatMessage(
            role: .assistant, content: "One, ", isPrefix: true, reasoning: " Hm.\n")
        for (style, end) in [
            (ChatTemplate.Style.glm45, "<|assistant|>\n<think>Hm.</think>\nOne, "),
            (.glm47, "<|assistant|><think>Hm.</think>One, "),
            (.glm51, "<|assistant|><think> Hm.\n</think>One, "),
            (.glm52, "<|assistant|><think> Hm.\n</think>One, "),
        ] {
            let prompt = ChatTemplate(style: style).render([user, begun])
            #expect(prompt.text.hasSuffix(end), "\(style) \(prompt.text)")
            #expect(!prompt.endsInThought)
        }
    }

    /// What Jinja gives for the published templates.
    @Test func `a combining character after a mark does not hide it`() {
        let turns = [
            ChatMessage(role: .user, content: "Hi"),
            ChatMessage(role: .assistant, content: "<think>a</think>\u{301}b"),
            ChatMessage(role: .user, content: "\u{600}/nothink"),
        ]
        for (style, end) in [
            (
                ChatTemplate.Style.qwen3,
                "<|im_start|>assistant\n\u{301}b<|im_end|>\n<|im_start|>user\n\u{600}/nothink"
                    + "<|im_end|>\n"
            ),
            (.glm45, "<think></think>\n\u{301}b<|user|>\n\u{600}/nothink"),
            (.minimaxM2, "]~b]ai\n\u{301}b[e~[\n]~b]user\n\u{600}/nothink[e~[\n"),
        ] {
            let thinks: Bool? = style == .minimaxM2 ? nil : false
            let prompt = ChatTemplate(style: style)
                .render(turns, thinking: thinks, addGenerationPrompt: false)
            let last = prompt.text.unicodeScalars.suffix(end.unicodeScalars.count)
            #expect(last.elementsEqual(end.unicodeScalars), "\(style) \(prompt.text)")
        }
        let begun = ChatMessage(
            role: .assistant, content: "<think>\u{301}Hm", isPrefix: true)
        #expect(ChatTemplate(style: .qwen3).render([turns[0], begun]).endsInThought)
    }

    /// What Python's `strip` gives for these texts.
    @Test func `white space at the ends is Python's`() {
        #expect("\r\n\u{1F} \u{301}x \u{3000}\u{85}".stripped == "\u{301}x")
        #expect("\u{200B} a".stripped == "\u{200B} a")
        #expect(" \n".stripped == "")
    }
}
