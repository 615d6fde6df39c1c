import Encoding
import Foundation
import Language
import Testing

@testable import Serving

/// How answers of chats are read, without a model.
@Suite struct ChatAnswerTests {
    private static let begin = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
    private static let fence = "function<｜tool▁sep｜>f\n```json\n"
    private static let end = "\n```<｜tool▁call▁end｜>"

    private struct Result {
        var choice: ChatChoice
        var deltas: [ChatAnswer.Delta] = []
        var isDone = false
        var reason: String { ChatCompletions.reason(choice) }

        /// What a client puts together from the stream.
        var streamed: [String] {
            var calls: [String] = []
            for delta in deltas {
                switch delta {
                case .callBegins(_, let call): calls.append("\(call.name):\(call.arguments)")
                case .arguments(let index, let text): calls[index] += text
                case .content, .reasoning: break
                }
            }
            return calls
        }
    }

    private func read(
        _ form: AnswerForm, _ text: String, _ reason: FinishReason, by size: Int = 3
    ) -> Result {
        var answer = ChatAnswer(
            index: 0, form: form,
            thought: ThoughtCount(ThoughtCount.Marks(begin: nil, end: nil), isInside: false),
            wantsScores: false, callPrefix: "call")
        var result = Result(choice: answer.choice)
        var rest = text.unicodeScalars[...]
        while !rest.isEmpty {
            result.deltas += answer.append(.init(text: String(rest.prefix(size))))
            rest = rest.dropFirst(size)
        }
        result.isDone = answer.isDone
        result.deltas += answer.finish(reason)
        result.choice = answer.choice
        return result
    }

    private let free = AnswerForm.free(calls: .fenced, limit: .max)

    @Test func `whole calls end with tool_calls, and their arguments came in pieces`() {
        let text = "Sure." + Self.begin + Self.fence + #"{"tz": "Europe/Zürich"}"# + Self.end
        let result = read(free, text, .stop)
        #expect(result.reason == "tool_calls")
        #expect(result.choice.calls.map(\.arguments) == [#"{"tz": "Europe/Zürich"}"#])
        #expect(result.choice.content == "Sure.")
        #expect(result.streamed == [#"f:{"tz": "Europe/Zürich"}"#])
        #expect(result.deltas.count > 6)
        #expect(read(free, text, .length).reason == "length")
    }

    @Test(arguments: [FinishReason.stop, .length])
    func `a call that was cut is none, and the reason says what cut it`(reason: FinishReason) {
        let whole = Self.begin + Self.fence + #"{"tz": "UTC"}"# + Self.end
        let word = reason == .stop ? "stop" : "length"
        for count in 1 ..< whole.count {
            let text = String(whole.prefix(count))
            let result = read(free, text, reason)
            #expect(result.reason == word && result.choice.calls.isEmpty, "\(text)")
            #expect(result.choice.content == text)
            for call in result.streamed { #expect(!call.hasSuffix("}"), "\(text)") }
        }
        // One whole call before the one that was cut stays.
        let two = whole + "\n<｜tool▁call▁begin｜>" + Self.fence + #"{"tz""#
        let result = read(free, two, reason)
        #expect(result.reason == word && result.choice.calls.count == 1)
    }

    @Test(arguments: [FinishReason.stop, .length])
    func `forced arguments that were cut are no call`(reason: FinishReason) {
        let cut = read(.arguments(of: "f"), #"{"a": {"b": 1}"#, reason)
        #expect(cut.choice.calls.isEmpty && cut.choice.content == #"{"a": {"b": 1}"#)
        #expect(cut.reason == (reason == .stop ? "stop" : "length"))
        let whole = read(.arguments(of: "f"), #"{"a": {"b": 1}}"#, .stop)
        #expect(whole.reason == "tool_calls")
        #expect(whole.streamed == [#"f:{"a": {"b": 1}}"#])
        let nothing = read(.arguments(of: "f"), "", reason)
        #expect(nothing.choice.calls.isEmpty && nothing.deltas.isEmpty)
    }

    @Test func `a forced call of one of several functions comes in pieces`() {
        let arguments = #"{"a": "}\" {", "b": [{"c": 1}]}"#
        for text in [
            #"{"name":"f","arguments":\#(arguments)}"#,
            #" { "name" : "f" , "arguments" : \#(arguments) } "#,
            #"{"name":"\u0066","arguments":\#(arguments)}"#,
        ] {
            for size in [1, 2, 5, 100] {
                let result = read(.call, text, .stop, by: size)
                #expect(result.choice.calls.map(\.name) == ["f"])
                #expect(result.choice.calls.map(\.arguments) == [arguments])
                #expect(result.streamed == ["f:" + arguments])
                #expect(result.reason == "tool_calls")
                #expect(result.choice.content.isEmpty)
                if size == 1 { #expect(result.deltas.count > arguments.count) }
            }
            let cut = read(.call, String(text.prefix(30)), .length)
            #expect(cut.choice.calls.isEmpty && cut.reason == "length")
            #expect(cut.choice.content == text.prefix(30))
        }
        #expect(read(.call, #"{"na"#, .stop).choice.content == #"{"na"#)
    }

    @Test func `one call where one is asked for`() {
        let call = "<｜tool▁call▁begin｜>" + Self.fence + "{}" + Self.end
        let text = "<｜tool▁calls▁begin｜>" + call + "\n" + call
        let one = read(.free(calls: .fenced, limit: 1), text, .stop)
        #expect(one.choice.calls.count == 1 && one.isDone && one.streamed == ["f:{}"])
        #expect(one.reason == "tool_calls")
        #expect(read(free, text, .stop).choice.calls.count == 2)
    }

    @Test func `stop strings are searched after the thought`() {
        func read(_ text: String, inside: Bool, by size: Int) -> (thought: String, rest: String) {
            var gate = ThoughtGate(isInside: inside)
            var result = ("", "")
            var rest = text.unicodeScalars[...]
            while !rest.isEmpty {
                let part = gate.append(String(rest.prefix(size)))
                result = (result.0 + part.thought, result.1 + part.rest)
                rest = rest.dropFirst(size)
            }
            let part = gate.finish()
            return (result.0 + part.thought, result.1 + part.rest)
        }
        for size in [1, 2, 3, 7, 100] {
            #expect(read("a STOP</think>b", inside: true, by: size) == ("a STOP</think>", "b"))
            #expect(read("\n<think>a</think>b", inside: false, by: size).rest == "b")
            #expect(read("b<think>a</think>", inside: false, by: size).thought == "")
            #expect(read("a</thin", inside: true, by: size) == ("a</thin", ""))
            #expect(read("<thin", inside: false, by: size) == ("", "<thin"))
            #expect(read("\n", inside: false, by: size) == ("", "\n"))
            let joined = read("<think>\u{301}a</think>\u{301}b", inside: false, by: size)
            #expect(joined == ("<think>\u{301}a</think>", "\u{301}b"))
        }
    }

    @Test func `chats of an unknown template are refused with the remedy, and styles say why`()
        throws
    {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in ["config.json", "tokenizer.json"] {
            try FileManager.default.copyItem(
                atPath: Golden.stories + "/" + name,
                toPath: folder.appending(path: name).path)
        }
        try #"{"chat_template": "{{ is_last_user }}"}"#.write(
            to: folder.appending(path: "tokenizer_config.json"), atomically: true, encoding: .utf8)
        func text(_ style: String?) throws -> ModelText {
            try ModelText(directory: folder.path, chatStyle: style)
        }
        func message(
            _ style: String?, _ messages: [ChatMessage] = [], tools: [Tool] = [],
            thinks: Bool? = nil
        ) throws -> String {
            do {
                let form = try text(style).callForm(for: messages, tools: tools, thinks: thinks)
                return "\(form.map { "\($0)" } ?? "none")"
            } catch let error as APIError { return "\(error.status) \(error.message)" }
        }
        let refusal = try message(nil)
        #expect(refusal.hasPrefix("400 chats of this model are refused, completions are not: "))
        #expect(refusal.contains("--chat-style, or chatStyle in a job file"))
        #expect(try text(nil).chatRefusal != nil && text("v3").chatRefusal == nil)
        #expect(try message("v3.1") == "bare" && message("r1", thinks: false) == "fenced")
        #expect(throws: LanguageError.self) { try text("v9") }
        let tool = Tool(["function": ["name": "f"]])
        #expect(try message("v2", tools: [tool]).contains("chats of style v2 have no tools"))
        let result = ChatMessage(role: .tool, content: "1")
        #expect(try message("v2", [result]).contains("no tool calls and no tool results"))
        #expect(try message("v3", thinks: true).contains("style v3 never begin with a"))
        #expect(try message("r1-0528", thinks: false).contains("style r1-0528 always begin"))
    }

    @Test func `a job file may name every style of chats`() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../cluster/job.schema.json").standardized
        let schema = try JSONValue.parse(Array(Data(contentsOf: file)))
        let names = schema["properties"]?["chatStyle"]?["enum"]?.array?.compactMap(\.string)
        #expect(Set(names ?? []) == Set(ChatTemplate.Style.allCases.map(\.rawValue) + [""]))
    }
}
