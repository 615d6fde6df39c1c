import Encoding
import Testing

@testable import Language

/// Calls in the forms of Kimi-K2, GLM, DeepSeek-V3.2, Qwen3, Qwen3-Coder and MiniMax-M2.
@Suite struct AgentCallTests {
    struct Call: Hashable {
        var name: String
        var arguments = ""
        var isWhole = false
    }

    struct Answer: Hashable {
        var content = ""
        var reasoning = ""
        var calls: [Call] = []
        var openCall: String?
    }

    private static let kinds: [String: [String: ArgumentKind]] = [
        "f": ["city": .text, "days": .json, "note": .textOrNull], "g": [:], "h": [:], "now": [:],
    ]

    private static func read(
        _ text: String, by size: Int, _ form: CallForm, thinking: Bool, limit: Int
    ) -> Answer {
        var parser = AnswerParser(
            beginsThinking: thinking, calls: form, callLimit: limit, kinds: kinds)
        var pieces: [AnswerParser.Piece] = []
        var rest = text.unicodeScalars[...]
        while !rest.isEmpty {
            pieces += parser.append(String(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        pieces += parser.finish()
        var answer = Answer(openCall: parser.openCall)
        for piece in pieces {
            switch piece {
            case .reasoning(let text): answer.reasoning += text
            case .content(let text): answer.content += text
            case .call(let name): answer.calls.append(Call(name: name))
            case .arguments(let text): answer.calls[answer.calls.count - 1].arguments += text
            case .callEnds: answer.calls[answer.calls.count - 1].isWhole = true
            }
        }
        return answer
    }

    /// Reads a text in pieces of many sizes, all of which must give the same.
    static func read(
        _ text: String, _ form: CallForm, thinking: Bool = false, limit: Int = .max
    ) -> Answer {
        let whole = read(text, by: .max, form, thinking: thinking, limit: limit)
        for size in [1, 2, 3, 5, 7, 16, 33] {
            let pieces = read(text, by: size, form, thinking: thinking, limit: limit)
            #expect(pieces == whole, "\(text.debugDescription) in pieces of \(size)")
        }
        for call in whole.calls {
            var isObject = false
            do { isObject = try JSONValue.parse(call.arguments).object != nil } catch {}
            #expect(isObject == call.isWhole, "\(call)")
        }
        return whole
    }

    /// A carriage return and a line feed are one character to Swift: each line stays a comment.
    @Test func `each line of a description is a comment`() {
        let declaration = #"{"name":"f","description":"Two\r\nlines."}"#
        let text = InterfaceText.declaration([
            ToolDeclaration(name: "f", declaration: declaration)
        ])
        #expect(text.contains("// Two\r\n// lines.\ntype f = "), "\(text)")
    }

    @Test func `Kimi's calls have a name, a number and JSON`() {
        let one = "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": 1}"
        let text =
            "<think>Hm.</think>Sure.<|tool_calls_section_begin|>" + one
            + "<|tool_call_end|><|tool_call_begin|> g:12 <|tool_call_argument_begin|> {} "
            + "<|tool_call_end|><|tool_calls_section_end|>"
        let answer = Self.read(text, .numbered)
        #expect(answer.reasoning == "Hm." && answer.content == "Sure.")
        #expect(
            answer.calls == [
                Call(name: "f", arguments: "{\"a\": 1}", isWhole: true),
                Call(name: "g", arguments: "{}", isWhole: true),
            ])
        let cut = Self.read("<|tool_calls_section_begin|>" + one, .numbered)
        #expect(cut.calls.map(\.isWhole) == [false] && cut.openCall?.hasSuffix("1}") == true)
        // Without a number it is no call.
        let other = "<|tool_calls_section_begin|><|tool_call_begin|>f<|tool_call_argument_begin|>{}"
        #expect(Self.read(other + "<|tool_call_end|>", .numbered).calls.isEmpty)
    }

    private static func keyed(_ name: String, _ members: [(String, String)]) -> String {
        "<tool_call>\(name)"
            + members.map {
                "<arg_key>\($0.0)</arg_key>\n<arg_value>\($0.1)</arg_value>"
            }.joined(separator: "\n") + "</tool_call>"
    }

    @Test func `GLM's values are texts or JSON as the tool's schema says`() throws {
        let text =
            "I look.\n"
            + Self.keyed("f", [("city", "Zürich \"1\"\n"), ("days", "[1, 2]"), ("note", "null")])
            + "\n" + Self.keyed("f", [("note", "12"), ("other", "12"), ("more", "not json")])
            + Self.keyed("now\n", [])
        let answer = Self.read(text, .keyed)
        #expect(answer.content == "I look.")
        #expect(answer.calls.map(\.name) == ["f", "f", "now"])
        let values = try answer.calls.map { try JSONValue.parse($0.arguments) }
        #expect(
            values == [
                ["city": "Zürich \"1\"\n", "days": [1, 2], "note": .null],
                ["note": "12", "other": 12, "more": "not json"], [:],
            ])
        #expect(Self.read(text, .keyed, limit: 1).calls.count == 1)
        // JSON has no two members of one name: the first counts.
        let twice = Self.keyed("f", [("days", "1"), ("days", "2"), ("city", "a"), ("city", "b")])
        let once = Self.read(twice, .keyed).calls
        #expect(try once.map { try JSONValue.parse($0.arguments) } == [["days": 1, "city": "a"]])
        let spoken = "use <tool_call> to call"
        #expect(Self.read(spoken, .keyed) == Answer(content: spoken))
        let long = "<tool_call>" + String(repeating: "a", count: 9000)
        #expect(Self.read(long, .keyed) == Answer(content: long))
    }

    @Test func `a GLM call that is cut is none`() {
        let whole = Self.keyed("f", [("city", "Zürich"), ("days", "[1]")])
        for count in 1 ..< whole.count {
            let answer = Self.read(String(whole.prefix(count)), .keyed)
            #expect(answer.calls.allSatisfy { !$0.isWhole })
            #expect(
                answer.calls.isEmpty
                    ? whole.hasPrefix(answer.content)
                    : whole.hasPrefix(answer.openCall ?? "-"), "\(answer)")
        }
    }

    static let mark = "｜DSML｜"

    private static func marked(_ calls: [(String, [(String, Bool, String)])]) -> String {
        var text = "\n\n<\(mark)function_calls>\n"
        for (name, members) in calls {
            text += "<\(mark)invoke name=\"\(name)\">\n"
            for (key, isText, value) in members {
                text += "<\(mark)parameter name=\"\(key)\" string=\"\(isText)\">\(value)"
                text += "</\(mark)parameter>\n"
            }
            text += "</\(mark)invoke>\n"
        }
        return text + "</\(mark)function_calls>"
    }

    @Test func `DeepSeek-V3.2's values say themselves whether they are texts`() throws {
        let text = Self.marked([
            ("f", [("city", true, "a <b> \"c\""), ("days", false, "{\"x\": [1]}")]),
            ("g", []), ("h", [("n", false, "12"), ("bad", false, "{"), ("s", true, "12")]),
        ])
        let answer = Self.read("Hm.</think>Sure." + text, .marked, thinking: true)
        #expect(answer.reasoning == "Hm." && answer.content == "Sure.")
        #expect(answer.calls.map(\.name) == ["f", "g", "h"])
        let values = try answer.calls.map { try JSONValue.parse($0.arguments) }
        #expect(
            values == [
                ["city": "a <b> \"c\"", "days": ["x": [1]]], [:],
                ["n": 12, "bad": "{", "s": "12"],
            ])
        for count in stride(from: 1, to: text.count - 30, by: 3) {
            let cut = Self.read(String(text.prefix(count)), .marked)
            #expect(!cut.calls.dropLast().contains { !$0.isWhole })
        }
    }

    /// What a model reads of its own calls is what it is read by.
    @Test func `calls that are written are read again`() throws {
        let call = ToolCall(
            name: "f", arguments: #"{"city": "Zürich </b>", "days": [1, {"a": null}]}"#)
        let turn = ChatMessage(role: .assistant, content: "x", toolCalls: [call, call])
        for style in [
            ChatTemplate.Style.kimiK2, .kimiK2Thinking, .kimiK25, .glm45, .glm47, .glm51, .glm52,
            .v32, .v31, .v30324, .qwen3, .qwen3Instruct, .qwen3Thinking, .qwen3Coder, .minimaxM2,
        ] {
            let rules = ChatTemplate(style: style)
            let user = ChatMessage(role: .user, content: "Hi")
            let start = rules.render([user], thinking: false).text
            let text = rules.render([user, turn], thinking: false, addGenerationPrompt: false).text
            let same = zip(text.unicodeScalars, start.unicodeScalars).prefix { $0.0 == $0.1 }
            let written = text.unicodeScalars.dropFirst(same.count)
            let end = ["<|im_end|>\n", "[e~[\n"].first { text.hasSuffix($0) } ?? ""
            let form = try #require(rules.callForm)
            let answer = Self.read(
                String(Substring(written.dropLast(end.unicodeScalars.count))), form)
            #expect(answer.calls.map(\.name) == ["f", "f"], "\(style) \(written)")
            let words = answer.content
            #expect(words.contains("x") && !words.contains("\n"), "\(style) \(words)")
            for one in answer.calls {
                #expect(try JSONValue.parse(one.arguments) == JSONValue.parse(call.arguments))
            }
        }
    }

    static func object(_ body: String) -> String { "<tool_call>\n\(body)\n</tool_call>" }

    @Test func `Qwen3's calls are objects`() throws {
        let first = #"{"name": "f", "arguments": {"a": "}</tool_call>{\"", "b": [{}]}}"#
        let text =
            "<think>\nHm.\n</think>\n\nSure.\n" + Self.object(first) + "\n"
            + Self.object(#" { "name" : "g" , "arguments" : { } } "#)
        let answer = Self.read(text, .object)
        #expect(answer.reasoning == "\nHm.\n" && answer.content == "Sure.")
        #expect(
            answer.calls == [
                Call(
                    name: "f", arguments: #"{"a": "}</tool_call>{\"", "b": [{}]}"#, isWhole: true),
                Call(name: "g", arguments: "{ }", isWhole: true),
            ])
        #expect(Self.read(text, .object, limit: 1).calls.count == 1)
        let whole = Self.object(first)
        for count in 1 ..< whole.count {
            let cut = Self.read(String(whole.prefix(count)), .object)
            #expect(cut.calls.allSatisfy { !$0.isWhole })
            #expect(
                cut.calls.isEmpty
                    ? whole.hasPrefix(cut.content) : whole.hasPrefix(cut.openCall ?? "-"))
        }
        // After the arguments the call ends, or it is none.
        for more in [#", "id": 1}"#, "", "}}", "} and"] {
            let text = Self.object(#"{"name": "f", "arguments": {"a": 1}"# + more)
            let answer = Self.read(text, .object)
            #expect(answer.calls.map(\.isWhole) == [false] && answer.content.isEmpty, "\(more)")
            #expect(answer.openCall == text)
        }
        // Other members, other orders and other values are no call of this form.
        for other in [
            #"{"arguments": {}, "name": "f"}"#, #"{"name": "f"}"#, #"{"name": 1, "arguments": {}}"#,
            #"{"name": "f", "arguments": "{}"}"#, #"{"name": "", "arguments": {}}"#, "f", "",
        ] {
            let answer = Self.read(Self.object(other), .object)
            #expect(answer == Answer(content: Self.object(other)), "\(other)")
        }
    }

    @Test func `Qwen3-Coder's values are lines`() throws {
        func call(_ name: String, _ members: [(String, String)]) -> String {
            "<tool_call>\n<function=\(name)>\n"
                + members.map { "<parameter=\($0.0)>\n\($0.1)\n</parameter>\n" }.joined()
                + "</function>\n</tool_call>"
        }
        let text =
            "Sure.\n\n"
            + call("f", [("city", "\nA <b>\n\n"), ("days", "[1, true]"), ("note", "None")])
            + "\n" + call("f", [("note", "12"), ("on", "True"), ("none", "None"), ("x", "1.5")])
            + "\n" + call("g", [])
        let answer = Self.read(text, .tagged)
        #expect(answer.content == "Sure." && answer.calls.map(\.name) == ["f", "f", "g"])
        #expect(
            try answer.calls.map { try JSONValue.parse($0.arguments) } == [
                ["city": "\nA <b>\n\n", "days": [1, .bool(true)], "note": .null],
                ["note": "12", "on": .bool(true), "none": .null, "x": .number("1.5")], [:],
            ])
        // A value that stands in its line's place.
        let dense = "<tool_call><function=f><parameter=city>a</parameter></function></tool_call>"
        #expect(Self.read(dense, .tagged).calls.map(\.arguments) == [#"{"city": "a"}"#])
        let whole = call("f", [("city", "Zürich"), ("days", "[1]")])
        for count in 1 ..< whole.count {
            let cut = Self.read(String(whole.prefix(count)), .tagged)
            #expect(cut.calls.allSatisfy { !$0.isWhole })
        }
        let spoken = "use <tool_call> to call <function=f>"
        #expect(Self.read(spoken, .tagged) == Answer(content: spoken))
    }

    @Test func `MiniMax-M2's calls name function and arguments as attributes`() throws {
        let text =
            "Hm.\n</think>\n\nSure.\n<minimax:tool_call>\n<invoke name=\"f\">\n"
            + "<parameter name=\"city\">Zürich\n</parameter>\n"
            + "<parameter name=\"days\">[1]</parameter>\n</invoke>\n<invoke name=\"g\">\n"
            + "</invoke>\n</minimax:tool_call>"
        let answer = Self.read(text, .invoked, thinking: true)
        #expect(answer.reasoning == "Hm.\n" && answer.content == "Sure.")
        #expect(
            answer.calls == [
                Call(name: "f", arguments: #"{"city": "Zürich\n", "days": [1]}"#, isWhole: true),
                Call(name: "g", arguments: "{}", isWhole: true),
            ])
        for count in stride(from: 40, to: text.count, by: 3) {
            let cut = Self.read(String(text.prefix(count)), .invoked, thinking: true)
            #expect(!cut.calls.dropLast().contains { !$0.isWhole })
        }
        let other = "<minimax:tool_call>\nnothing</minimax:tool_call>"
        #expect(Self.read(other, .invoked).calls.isEmpty)
    }

    @Test func `a thought may begin on a line of its own`() {
        let answer = Self.read("\n<think>Hm.</think>\nYes", .keyed)
        #expect(answer == Answer(content: "Yes", reasoning: "Hm."))
        #expect(Self.read("\n\nNo <think>", .keyed).content == "No <think>")
        for form in [CallForm.object, .tagged, .marked, .invoked, .bare] {
            let answer = Self.read("\n\n<think>Hm.</think>\n\nYes", form)
            #expect(answer == Answer(content: "Yes", reasoning: "Hm."), "\(form)")
        }
    }

    /// One call with one argument, and what ends the argument's value.
    static let values: [(form: CallForm, before: String, mark: String, after: String)] = [
        (
            .tagged, "<tool_call>\n<function=f>\n<parameter=days>\n", "</parameter>",
            "</function>\n</tool_call>"
        ),
        (
            .invoked, "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"days\">",
            "</parameter>", "</invoke>\n</minimax:tool_call>"
        ),
        (
            .marked,
            "<\(mark)function_calls>\n<\(mark)invoke name=\"f\">\n"
                + "<\(mark)parameter name=\"days\" string=\"false\">", "</\(mark)parameter>",
            "</\(mark)invoke>\n</\(mark)function_calls>"
        ),
        (
            .keyed, "<tool_call>f\n<arg_key>days</arg_key>\n<arg_value>", "</arg_value>",
            "</tool_call>"
        ),
    ]

    @Test func `a string of JSON may hold the mark that ends a value`() throws {
        for (form, before, mark, after) in Self.values {
            let line = form == .tagged ? "\n" : ""
            func days(_ value: String) throws -> JSONValue? {
                let answer = Self.read(before + value + line + mark + "\n" + after, form)
                #expect(answer.calls.count == 1, "\(form) \(value)")
                return try JSONValue.parse(answer.calls.first?.arguments ?? "")["days"]
            }
            let text = "a\"\(mark)b\(mark)\\"
            #expect(try days(JSONValue.quoted(text)) == .string(text))
            let list: JSONValue = [.string(mark), .object([(key: mark, value: .number("1"))])]
            #expect(try days(list.text) == list)
            // A string that does not end before its line does is none, and the mark ends the value.
            #expect(try days("[\"a") == "[\"a")
            #expect(try days("[1, \"a\nb") == "[1, \"a\nb")
        }
    }

    @Test func `a call of no tool stays what the model wrote`() {
        let object = Self.object(#"{"name": "other", "arguments": {}}"#)
        for (form, text) in [
            (CallForm.object, object), (.keyed, Self.keyed("other", [("city", "a")])),
            (.tagged, "<tool_call>\n<function=other>\n</function>\n</tool_call>"),
            (.bare, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>other<｜tool▁sep｜>{}<｜tool▁call▁end｜>"),
        ] { #expect(Self.read("a" + text, form) == Answer(content: "a" + text), "\(form)") }
        let two = Self.object(#"{"name": "now", "arguments": {}}"#) + object
        let answer = Self.read(two, .object)
        #expect(answer.calls.map(\.name) == ["now"] && answer.content == object)
    }
}
