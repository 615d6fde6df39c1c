import Testing

@testable import Language

@Suite struct AnswerParserTests {
    private static let beginCalls = "<｜tool▁calls▁begin｜>"
    private static let begin = "<｜tool▁call▁begin｜>"
    private static let sep = "<｜tool▁sep｜>"
    private static let end = "<｜tool▁call▁end｜>"
    private static let endCalls = "<｜tool▁calls▁end｜>"

    private struct Answer: Equatable {
        struct Call: Equatable {
            var name: String
            var arguments = ""
            var isWhole = false
        }
        var reasoning = ""
        var content = ""
        var calls: [Call] = []
        var openCall: String?
        var pieces: [AnswerParser.Piece] = []

        static func == (a: Answer, b: Answer) -> Bool {
            a.reasoning == b.reasoning && a.content == b.content && a.calls == b.calls
        }
    }

    private static func read(
        _ text: String, by size: Int, _ form: CallForm?, thinking: Bool = false, limit: Int = .max
    ) -> Answer {
        var parser = AnswerParser(beginsThinking: thinking, calls: form, callLimit: limit)
        var answer = Answer()
        var rest = text.unicodeScalars[...]
        while !rest.isEmpty {
            answer.pieces += parser.append(String(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        answer.pieces += parser.finish()
        answer.openCall = parser.openCall
        for piece in answer.pieces {
            switch piece {
            case .reasoning(let text): answer.reasoning += text
            case .content(let text): answer.content += text
            case .call(let name): answer.calls.append(.init(name: name))
            case .arguments(let text): answer.calls[answer.calls.count - 1].arguments += text
            case .callEnds: answer.calls[answer.calls.count - 1].isWhole = true
            }
        }
        return answer
    }

    /// Reads a text in pieces of many sizes, all of which must give the same.
    private static func read(
        _ text: String, _ form: CallForm?, thinking: Bool = false, limit: Int = .max
    ) -> Answer {
        let whole = read(text, by: .max, form, thinking: thinking, limit: limit)
        for size in [1, 2, 3, 5, 7, 16, 33] {
            let pieces = read(text, by: size, form, thinking: thinking, limit: limit)
            #expect(pieces == whole, "\(text.debugDescription) in pieces of \(size)")
        }
        return whole
    }

    private static func section(_ bodies: String...) -> String {
        beginCalls + bodies.map { begin + $0 + end }.joined(separator: "\n") + endCalls
    }

    @Test func `thought, content and calls are told apart, however the text is cut`() {
        let calls = Self.section(
            "function\(Self.sep)add\n```json\n{\"a\": 1}\n```",
            "function\(Self.sep)sub\n```json\n{\"b\": \"```\\n```\"}\n```")
        let answer = Self.read("<think>hm\nwell</think>\n\nSure." + calls, .fenced)
        #expect(answer.reasoning == "hm\nwell" && answer.content == "Sure.")
        #expect(
            answer.calls == [
                .init(name: "add", arguments: "{\"a\": 1}", isWhole: true),
                .init(name: "sub", arguments: "{\"b\": \"```\\n```\"}", isWhole: true),
            ])
        #expect(Self.read("x" + calls, nil).content == "x" + calls)
    }

    @Test(arguments: [
        "function<｜tool▁sep｜>get_time```json\n{\"tz\":\"UTC\"}\n```",
        "function<｜tool▁sep｜>get_time\n```json\n{\"tz\":\"UTC\"}\n```",
        "function<｜tool▁sep｜>get_time\n```json{\"tz\":\"UTC\"}```",
        "function<｜tool▁sep｜> get_time \n\n```JSON\n\n{\"tz\":\"UTC\"}\n\n```\n",
        " function \n<｜tool▁sep｜>\nget_time\r\n```json\r\n{\"tz\":\"UTC\"}\r\n```",
        "function<｜tool▁sep｜>get_time\n```\n{\"tz\":\"UTC\"}\n```",
        "function<｜tool▁sep｜>get_time\n{\"tz\":\"UTC\"}",
        "function<｜tool▁sep｜>get_time{\"tz\":\"UTC\"}",
        "function<｜tool▁sep｜>get_time\n```json\n{\"tz\":\"UTC\"}",
    ])
    func `V3's form is read whatever white space and fence it has`(body: String) {
        let answer = Self.read(Self.section(body), .fenced)
        let call = Answer.Call(name: "get_time", arguments: #"{"tz":"UTC"}"#, isWhole: true)
        #expect(answer.calls == [call] && answer.content.isEmpty)
        // The same is no call of a model that writes V3.1's form.
        let other = Self.read(Self.section(body), .bare)
        #expect(other.calls.isEmpty && other.content.contains("get_time"))
    }

    @Test(arguments: [
        "get_time<｜tool▁sep｜>{\"tz\":\"UTC\"}", " get_time\n<｜tool▁sep｜>\n{\"tz\":\"UTC\"}\n",
        "get_time<｜tool▁sep｜>```json\n{\"tz\":\"UTC\"}\n```",
    ])
    func `V3.1's form is never read as V3's`(body: String) {
        let answer = Self.read(Self.section(body), .bare)
        let call = Answer.Call(name: "get_time", arguments: #"{"tz":"UTC"}"#, isWhole: true)
        #expect(answer.calls == [call] && answer.content.isEmpty)
        let other = Self.read(Self.section(body), .fenced)
        #expect(other.calls.isEmpty && other.content.contains(Self.begin + body + Self.end))
    }

    @Test(arguments: [
        "", "function", "function<｜tool▁sep｜>", "function<｜tool▁sep｜>{}",
        "function<｜tool▁sep｜>two words\n{}", "function<｜tool▁sep｜>f\n```json\n[1]\n```",
        "function<｜tool▁sep｜>f\n```json\n\"x\"\n```", "tool<｜tool▁sep｜>f\n```json\n{}\n```",
    ])
    func `what is no call stays what the model wrote`(body: String) {
        let answer = Self.read("a" + Self.section(body, "function\(Self.sep)g{}"), .fenced)
        #expect(answer.content == "a" + Self.beginCalls + Self.begin + body + Self.end)
        #expect(answer.calls == [.init(name: "g", arguments: "{}", isWhole: true)])
    }

    @Test(arguments: [
        "function<｜tool▁sep｜>now\n```json\n{}\n```", "function<｜tool▁sep｜>now",
        "function<｜tool▁sep｜>now\n```json\n\n```", "function<｜tool▁sep｜>now\n```json\n```",
        "function<｜tool▁sep｜>now\n",
    ])
    func `a call without arguments has an empty object`(body: String) {
        let answer = Self.read(Self.section(body), .fenced)
        #expect(answer.calls == [.init(name: "now", arguments: "{}", isWhole: true)])
        let bare = Self.read(Self.section("now<｜tool▁sep｜>"), .bare)
        #expect(bare.calls == answer.calls)
    }

    @Test func `a call cut anywhere is never whole`() {
        for (form, body) in [
            (CallForm.fenced, "function<｜tool▁sep｜>f\n```json\n{\"a\": {\"b\": \"c\"}} \n```"),
            (.bare, "f<｜tool▁sep｜>{\"a\": {\"b\": \"c\"}}\n"),
        ] {
            let text = "t" + Self.beginCalls + Self.begin + body
            let scalars = Array((text + Self.end).unicodeScalars)
            for count in 0 ..< scalars.count {
                let cut = String(String.UnicodeScalarView(scalars[..<count]))
                let answer = Self.read(cut, form)
                #expect(answer.calls.allSatisfy { !$0.isWhole }, "\(cut)")
                let arguments = answer.calls.first?.arguments ?? ""
                #expect(arguments.filter { $0 == "}" }.count < 2, "\(cut)")
                // Nothing is lost: what did not come out as content is the open call.
                #expect(answer.content + (answer.openCall ?? "") == cut)
            }
        }
    }

    @Test func `arguments come as they are written`() {
        let text = Self.section("function\(Self.sep)f\n```json\n{\"a\": \"long words here\"}\n```")
        let answer = Self.read(text, by: 1, .fenced)
        let pieces = answer.pieces.filter { if case .arguments = $0 { true } else { false } }
        #expect(pieces.count > 20)
        #expect(answer.pieces.first == .call(name: "f") && answer.pieces.last == .callEnds)
    }

    @Test func `a limit of calls ends the answer after them`() {
        let bodies = (1 ... 3).map { "function\(Self.sep)f\($0){}" }
        let text = Self.section(bodies[0], bodies[1], bodies[2]) + "more"
        #expect(Self.read(text, .fenced, limit: 1).calls.map(\.name) == ["f1"])
        #expect(Self.read(text, .fenced, limit: 2).calls.map(\.name) == ["f1", "f2"])
        #expect(Self.read(text, .fenced, limit: 1).content.isEmpty)
        #expect(Self.read(text, .fenced).content == "more")
        var parser = AnswerParser(beginsThinking: false, calls: .fenced, callLimit: 1)
        _ = parser.append(Self.beginCalls + Self.begin + bodies[0])
        #expect(!parser.isDone && parser.isInCall)
        _ = parser.append(Self.end)
        #expect(parser.isDone && !parser.isInCall)
    }

    @Test func `a combining mark after a token does not hide it`() {
        let answer = Self.read("hm</think>\u{301}x", .fenced, thinking: true)
        #expect(answer.reasoning == "hm" && answer.content == "\u{301}x")
        let text = "कि ❤️ e\u{301}"
        let body = "function\(Self.sep)f\n```json\n{\"a\": \"\u{301}\(text)\"}\n```"
        let call = Self.read(text + Self.section(body), .fenced)
        #expect(call.content == text)
        #expect(call.calls.first?.arguments == "{\"a\": \"\u{301}\(text)\"}")
    }
}
