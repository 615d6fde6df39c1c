import Encoding
import Testing

@testable import Language

/// Texts of any characters, and what is nearly a call.
extension AgentCallTests {
    @Test func `a text keeps characters that join the ones before them`() throws {
        for (form, before, mark, after) in Self.values {
            let line = form == .tagged ? "\n" : ""
            let start = before.replacing("days", with: "city").replacing("\"false", with: "\"true")
            for text in ["कि ❤️ e\u{301}", "\u{301}", "\u{20D0}\"\u{301}\\\u{302}\u{FE0F}"] {
                let answer = Self.read(start + text + line + mark + after, form)
                let value = try JSONValue.parse(answer.calls.first?.arguments ?? "")["city"]
                // Scalar by scalar: strings that look alike are equal.
                let scalars = value?.string.map { Array($0.unicodeScalars) }
                #expect(scalars == Array(text.unicodeScalars), "\(form)")
            }
        }
    }

    /// Calls of `now` in each form, alone in their section.
    private static let calls: [(form: CallForm, text: String)] = [
        (.object, object(#"{"name": "now", "arguments": {}}"#)),
        (.keyed, "<tool_call>now</tool_call>"),
        (.tagged, "<tool_call>\n<function=now>\n</function>\n</tool_call>"),
        (.invoked, "<minimax:tool_call>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>"),
        (
            .marked,
            "<\(mark)function_calls>\n<\(mark)invoke name=\"now\">\n</\(mark)invoke>\n"
                + "</\(mark)function_calls>"
        ),
        (
            .bare,
            "<｜tool▁calls▁begin｜>\n<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>\n"
                + "<｜tool▁calls▁end｜>"
        ),
    ]

    @Test func `an answer has one thought, and a call after another mark is a call`() {
        let call = Call(name: "now", arguments: "{}", isWhole: true)
        for (form, text) in Self.calls {
            let twice = Self.read("<think>a</think>\n\n<think>b" + text, form)
            #expect(twice.reasoning == "a" && twice.content == "<think>b", "\(form)")
            #expect(twice.calls == [call], "\(form)")
            let prompted = Self.read("a</think><think>b" + text, form, thinking: true)
            #expect(prompted.reasoning == "a" && prompted.calls == [call], "\(form)")
            let after = Self.read(text + "<think>b" + text, form)
            #expect(after.reasoning.isEmpty && after.content == "<think>b", "\(form)")
            #expect(after.calls == [call, call], "\(form)")
        }
    }

    @Test func `calls of no tool keep the words around them`() {
        for (form, call) in Self.calls {
            let text = "a\n\n" + call.replacing("now", with: "other") + " b"
            #expect(Self.read(text, form) == Answer(content: text), "\(form)")
        }
        let empty = "a<minimax:tool_call>\n</minimax:tool_call>"
        #expect(Self.read(empty, .invoked) == Answer(content: empty))
    }

    @Test func `arguments that are no object are no call`() {
        let forms: [(form: CallForm, before: String, after: String)] = [
            (.object, "<tool_call>\n{\"name\": \"f\", \"arguments\": ", "}\n</tool_call>"),
            (
                .bare, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>",
                "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            ),
            (
                .fenced,
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n",
                "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            ),
            (
                .numbered,
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
                    + "<|tool_call_argument_begin|>",
                "<|tool_call_end|><|tool_calls_section_end|>"
            ),
        ]
        for (form, before, after) in forms {
            for wrong in [
                #"{"a": 1]"#, #"{"a": b}"#, #"{"a": ["b"}}"#, #"{"a": 1,}"#, #"{"a": 1} 2"#,
                #"{"a": 1}{"#, "{\"a\": \"\n\"}",
            ] {
                let text = before + wrong + after
                let answer = Self.read(text, form)
                #expect(answer.calls.map(\.isWhole) == [false], "\(form) \(wrong)")
                #expect(answer.openCall == text, "\(form) \(wrong)")
            }
            let whole = Self.read(before + #"{"a": [{}]}"# + after, form)
            let call = Call(name: "f", arguments: #"{"a": [{}]}"#, isWhole: true)
            #expect(whole.calls == [call], "\(form)")
        }
    }
}
