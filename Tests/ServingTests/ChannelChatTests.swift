import Encoding
import Foundation
import Grammar
import Language
import NIOHTTP1
import Testing

@testable import Serving

/// Chats of gpt-oss: answers are messages in channels.
@Suite(.serialized) struct ChannelChatTests {
    private static func request(_ seed: Int, _ more: String) -> String {
        #"{"messages":[{"role":"user","content":"Go"}],"max_tokens":300,"temperature":1.5,"#
            + #""seed":\#(seed)\#(more)}"#
    }

    @Test func `calls and formats are whole, after a thought or without one`() async throws {
        try await FreeCallTests.withServer("gpt-oss", FreeCallTests.harmony) { server, _ in
            let path = "/v1/chat/completions"
            let tools = #","tools":\#(FreeCallTests.tools)"#
            var thoughts = 0
            for seed in 1 ... 4 {
                for more in [
                    tools + #","tool_choice":"required""#,
                    tools + #","tool_choice":"required","reasoning_effort":"none""#,
                    tools + #","tool_choice":{"type":"function","function":{"name":"paint"}}"#,
                ] {
                    let (status, answer) = try await server.post(path, Self.request(seed, more))
                    #expect(status == 200, "\(answer.text)")
                    let choice = answer["choices"]?.array?.first
                    let calls = choice?["message"]?["tool_calls"]?.array ?? []
                    #expect(calls.count == 1 && choice?["finish_reason"] == "tool_calls")
                    #expect(choice?["message"]?["content"]?.string ?? "" == "", "\(answer.text)")
                    try FreeCallTests.check(calls)
                    let thought = choice?["message"]?["reasoning_content"]?.string ?? ""
                    if !thought.isEmpty { thoughts += 1 }
                    if more.contains("none") { #expect(thought == "") }
                }
                let format =
                    #","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":"#
                    + #"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"#
                    + #""additionalProperties":false}}}"#
                for more in [format, format + tools] {
                    let (status, answer) = try await server.post(path, Self.request(seed, more))
                    #expect(status == 200, "\(answer.text)")
                    let message = answer["choices"]?.array?.first?["message"]
                    if message?["reasoning_content"]?.string?.isEmpty == false { thoughts += 1 }
                    let calls = message?["tool_calls"]?.array ?? []
                    try FreeCallTests.check(calls)
                    if calls.isEmpty {
                        let value = try JSONValue.parse(message?["content"]?.string ?? "")
                        #expect(value["n"]?.integer != nil, "\(answer.text)")
                    }
                }
            }
            #expect(thoughts > 0)
        }
    }

    @Test func `words that go on beside tools and a format are of the format`() async throws {
        try await FreeCallTests.withServer("gpt-oss", FreeCallTests.harmony) { server, _ in
            let more =
                #","tools":\#(FreeCallTests.tools),"response_format":{"type":"json_schema","#
                + #""json_schema":{"name":"n","schema":{"type":"integer","minimum":1,"#
                + #""maximum":99}}}"#
            for seed in 1 ... 12 {
                let body = Self.request(seed, more).replacing(
                    #"{"role":"user","content":"Go"}"#,
                    with: #"{"role":"user","content":"Go"},"#
                        + #"{"role":"assistant","content":"It is ","prefix":true}"#)
                let (status, answer) = try await server.post("/v1/chat/completions", body)
                #expect(status == 200, "\(answer.text)")
                let message = answer["choices"]?.array?.first?["message"]
                #expect(message?["tool_calls"] == nil, "\(answer.text)")
                let number = Int(message?["content"]?.string ?? "")
                #expect(number.map { (1 ... 99).contains($0) } == true, "\(answer.text)")
            }
        }
    }

    @Test func `a call that the model makes by itself is whole`() async throws {
        try await FreeCallTests.withServer("gpt-oss", FreeCallTests.harmony) { server, _ in
            let (_, tokens) = try await server.post(
                "/tokenize", #"{"prompt":"<|channel|>","add_special_tokens":false}"#)
            let channel = try #require(tokens["tokens"]?.array?.first?.integer)
            // Without the channel the header can only name a function first.
            let bias = #","tools":\#(FreeCallTests.tools),"logit_bias":{"\#(channel)":-100}"#
            for seed in 1 ... 6 {
                let (status, answer) = try await server.post(
                    "/v1/chat/completions", Self.request(seed, bias))
                #expect(status == 200, "\(answer.text)")
                let choice = answer["choices"]?.array?.first
                let calls = choice?["message"]?["tool_calls"]?.array ?? []
                #expect(calls.count == 1 && choice?["finish_reason"] == "tool_calls")
                try FreeCallTests.check(calls)
            }
        }
    }

    @Test func `a prompt says the day of the request, and other styles refuse one`() async throws {
        func body(_ more: String) -> String {
            #"{"messages":[{"role":"user","content":"Go"}]\#(more)}"#
        }
        func text(_ server: TestServer, _ more: String) async throws -> String {
            let (status, answer) = try await server.post("/tokenize", body(more))
            #expect(status == 200, "\(answer.text)")
            let ids = answer["tokens"]?.text ?? ""
            let (_, words) = try await server.post("/detokenize", #"{"tokens":\#(ids)}"#)
            return words["prompt"]?.string ?? ""
        }
        let dated = #","chat_template_kwargs":{"current_date":"2025-06-28"}"#
        try await FreeCallTests.withServer("gpt-oss", FreeCallTests.harmony) { server, _ in
            #expect(try await text(server, dated).contains("\nCurrent date: 2025-06-28\n"))
            #expect(
                try await text(server, #","reasoning_effort":"high""#)
                    .contains("\nReasoning: high\n"))
            #expect(try await text(server, "").contains("Current date: "))
            for wrong in ["today", "2025-6-28", "2025-06-28\\n"] {
                let more = dated.replacing("2025-06-28", with: wrong)
                let (status, answer) = try await server.post("/tokenize", body(more))
                #expect(status == 400 && answer.text.contains("current_date"), "\(answer.text)")
            }
        }
        try await FreeCallTests.withServer("v3.1", FreeCallTests.deepSeek) { server, _ in
            let (status, answer) = try await server.post("/tokenize", body(dated))
            #expect(status == 400 && answer.text.contains("say no date"), "\(answer.text)")
        }
    }

    @Test func `a tokenizer without the format's tokens gets no chats`() throws {
        let text = try ModelText(directory: Golden.stories, chatStyle: "gpt-oss")
        #expect(text.chatRefusal?.contains("<|start|>") == true)
    }

    @Test func `a grammar admits both orders of a call and no other function`() throws {
        let folder = try FreeCallTests.folder(FreeCallTests.harmony)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let tokenizer = try Tokenizer(directory: URL(filePath: folder))
        let vocabulary = try #require(LazyVocabulary(tokenizer, endTokens: []).value)
        let form = CallConstraint(tokenizer: tokenizer, form: .channeled)
        let tools = [Tool(["function": ["name": "wait"]]), Tool(["function": ["name": "wait2"]])]
        let compiled = try CompiledGrammars().compiled(form.rest(of: tools, atMost: nil))
        func admits(_ text: String) throws -> Bool {
            var state = try ConstrainedText(compiled, vocabulary: vocabulary, maxNewTokens: .max)
            for id in tokenizer.encode(text, addSpecialTokens: false) {
                do { try state.append(id) } catch { return false }
            }
            return state.isFinal
        }
        for name in ["wait", "wait2"] {
            for header in [
                " to=functions.\(name)<|channel|>commentary json",
                " to=functions.\(name)<|channel|>commentary <|constrain|>json",
                "<|channel|>commentary to=functions.\(name) <|constrain|>json",
                "<|channel|>commentary to=functions.\(name)<|constrain|>json",
            ] { #expect(try admits("assistant\(header)<|message|>{}<|call|>"), "\(header)") }
        }
        for channel in ["analysis", "commentary", "final"] {
            #expect(try admits("assistant<|channel|>\(channel)<|message|>"))
        }
        for wrong in [
            "assistant<|channel|>commentary to=functions.go json<|message|>{}<|call|>",
            "assistant<|channel|>commentary to=functions.wait json<|message|>{}<|end|>",
            "user<|message|>", "assistant<|channel|>other<|message|>",
            "assistant<|channel|>commentary to=functions.wait json<|message|>{\"a\":1}<|call|>",
        ] { #expect(try !admits(wrong), "\(wrong)") }
        // A name with white space would end the header.
        let odd = Tool(["function": ["name": "a b"]])
        #expect(odd.fault(in: .channeled) != nil && odd.fault(in: .object) == nil)
    }

    @Test func `thoughts of a channel are counted, and kept from stop strings`() throws {
        let marks = ThoughtCount.Marks(begin: nil, end: 9, opening: [5, 6, 7])
        var count = ThoughtCount(marks, isInside: false)
        for token in [5, 5, 6, 7, 1, 1, 9, 1, 5, 6, 7, 9, 1] { count.append(token) }
        #expect(count.count == 10)
        let budget = ThoughtBudget(
            tokens: 1, beginToken: nil, opening: [5, 6, 7], endToken: 9, isInside: false)
        #expect(budget.opens([1, 5, 6], 7) && !budget.opens([6], 7) && !budget.opens([5, 6], 6))
        var gate = ChannelGate()
        func isSearched(_ text: String) -> Bool { gate.append(text) }
        #expect(isSearched("a"))
        gate.append(.channel)
        #expect(!isSearched("analysis"))
        gate.append(.message)
        #expect(!isSearched("c"))
        gate.append(.end)
        gate.append(.start)
        #expect(!isSearched("assistant"))
        gate.append(.channel)
        #expect(!isSearched("final"))
        gate.append(.message)
        #expect(isSearched("s"))
        // A call's receiver is no text to be searched, and an answer without a header is.
        var first = ChannelGate(beginsInHeader: true)
        for piece in [" ", "to", "=functions.f"] {
            let isWords = first.append(piece)
            #expect(!isWords, "\(piece)")
        }
        var bare = ChannelGate(beginsInHeader: true)
        let isWords = bare.append("It is")
        #expect(isWords)
        #expect(ChannelGate.withoutSigns("a\(HarmonyToken.end.sign)") == "a\u{FFFD}")
    }
}
