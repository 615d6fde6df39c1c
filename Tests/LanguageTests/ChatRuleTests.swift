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

    @Test func `an answer of GLM that goes on keeps its thought`() {
        let begun = ChatMessage(
            role: .assistant, content: "One, ", isPrefix: true, reasoning: " Hm.\n")
        for (style, end) in [
            (ChatTemplate.Style.glm45, "<|assistant|>\n<think>Hm.</think>\nOne, "),
            (.glm47, "<|assistant|><think>Hm.</think>One, "),
            (.glm52, "<|assistant|><think> Hm.\n</think>One, "),
        ] {
            let prompt = ChatTemplate(style: style).render([user, begun])
            #expect(prompt.text.hasSuffix(end), "\(style) \(prompt.text)")
            #expect(!prompt.endsInThought)
        }
    }

    /// What Python's `strip` gives for these texts.
    @Test func `white space at the ends is Python's`() {
        #expect("\r\n\u{1F} \u{301}x \u{3000}\u{85}".stripped == "\u{301}x")
        #expect("\u{200B} a".stripped == "\u{200B} a")
        #expect(" \n".stripped == "")
    }
}
