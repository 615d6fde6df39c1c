import Encoding
import Language
import NIOHTTP1
import Testing

@testable import Serving

/// OpenAI's Responses API.
@Suite(.serialized) struct ResponsesTests {
    private static let path = "/v1/responses"

    private static func chat(
        _ text: String, after earlier: [JSONValue] = []
    ) throws -> (chat: JSONValue, turns: [JSONValue]) {
        let body = try JSONValue.parse(text)
        try MemberTests.shapes.responses.check(body, at: "")
        return try ResponsesRequest.chat(body, after: earlier)
    }

    @Test func `items become turns`() throws {
        let body = """
            {"instructions":"S","input":[
              {"role":"user","content":[{"type":"input_text","text":"a"},
                                        {"type":"input_text","text":"b"}]},
              {"type":"reasoning","id":"rs_1","summary":[]},
              {"type":"message","role":"assistant","id":"msg_1","status":"completed",
               "content":[{"type":"output_text","text":"I look.","annotations":[]}]},
              {"type":"function_call","call_id":"1","name":"f","arguments":"{}"},
              {"type":"function_call","call_id":"2","name":"g","arguments":"{}"},
              {"type":"function_call_output","call_id":"2","output":"two"},
              {"type":"function_call_output","call_id":"1","output":"one"}],
             "reasoning":{"effort":"none"},"max_output_tokens":7}
            """
        let (chat, turns) = try Self.chat(body, after: [["role": "user", "content": "0"]])
        let wanted = try JSONValue.parse(
            """
            [{"role":"user","content":"0"},{"role":"user","content":"ab"},
             {"role":"assistant","content":"I look.","tool_calls":[
               {"id":"1","type":"function","function":{"name":"f","arguments":"{}"}},
               {"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"2","content":"two"},
             {"role":"tool","tool_call_id":"1","content":"one"}]
            """)
        #expect(JSONValue.array(turns) == wanted, "\(JSONValue.array(turns).text)")
        #expect(chat["messages"]?.array?.first == ["role": "system", "content": "S"])
        #expect(chat["messages"]?.array?.count == 6)
        #expect(chat["reasoning_effort"] == "none" && chat["max_completion_tokens"] == 7)
        let read = try ToolResults.ordered(turns).suffix(2).compactMap { $0["content"]?.string }
        #expect(read == ["one", "two"])
        for ids in [["1", "3"], ["1", "1"]] {
            let results = ids.map {
                JSONValue.object([("role", "tool"), ("tool_call_id", .string($0))])
            }
            #expect(throws: APIError.self) {
                try ToolResults.ordered(Array(turns.dropLast(2)) + results)
            }
        }
    }

    @Test func `every thought keeps its place before the words or the call it led to`() throws {
        func thought(_ text: String) -> String {
            #"{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":""#
                + text + #""}]}"#
        }
        let items = [
            #"{"role":"user","content":"a"}"#, thought("first"),
            #"{"type":"message","role":"assistant","content":"I look."}"#, thought("second"),
            #"{"type":"function_call","call_id":"1","name":"f","arguments":"{}"}"#,
            #"{"type":"function_call","call_id":"2","name":"g","arguments":"{}"}"#,
            #"{"type":"function_call_output","call_id":"1","output":"one"}"#,
            #"{"type":"function_call_output","call_id":"2","output":"two"}"#,
        ]
        let (_, turns) = try Self.chat("{\"input\":[\(items.joined(separator: ","))]}")
        let thoughts = turns.map { $0["reasoning_content"]?.string }
        #expect(thoughts == [nil, "first", "second", nil, nil])
        #expect(turns[1]["content"] == "I look." && turns[1]["tool_calls"] == nil)
        #expect(turns[2]["tool_calls"]?.array?.count == 2)
    }

    /// The members of OpenAI's `ResponseCreateParams` (SDK 3.57.0).
    @Test func `every published member of a request is known`() {
        let words = """
            access_programs background background_options context_management conversation image \
            include input instructions max_output_tokens max_tool_calls metadata model \
            moderation parallel_tool_calls previous_response_id prompt prompt_cache_key \
            prompt_cache_options prompt_cache_retention reasoning safety_identifier \
            service_tier store stream stream_options temperature text tool_choice tools \
            top_logprobs top_p truncation user
            """
        let names = Set(MemberTests.names(MemberTests.shapes.responses))
        for word in MemberTests.words(words) { #expect(names.contains(word), "\(word)") }
    }

    @Test func `a stream says what the whole response says, and both are stored`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let request = #"{"input":"Tell me a story.","max_output_tokens":20,"seed":4"#
            let (status, whole) = try await server.post(Self.path, request + "}")
            #expect(status == 200 && whole["status"] == "incomplete", "\(whole.text)")
            let (events, isDone) = try await server.stream(
                Self.path, request + #","stream":true}"#)
            #expect(!isDone)
            let numbers = events.compactMap { $0["sequence_number"]?.integer }
            #expect(numbers == Array(events.indices))
            let last = events.last?["response"]
            let content = whole["output"]?.array?.first?["content"]
            #expect(last?["output"]?.array?.first?["content"] == content)
            let types = Set(events.compactMap { $0["type"]?.string })
            #expect(types.contains("response.output_text.done") && types.count == 9)
            for response in [whole, last ?? .null] {
                let id = response["id"]?.string ?? ""
                let (status, text) = try await server.send(.GET, "\(Self.path)/\(id)")
                #expect(try status == 200 && JSONValue.parse(text) == response)
                #expect(try await server.send(.DELETE, "\(Self.path)/\(id)").status == 200)
                #expect(try await server.send(.GET, "\(Self.path)/\(id)").status == 404)
            }
        }
    }

    @Test func `thoughts, text and calls are items one after the other`() throws {
        let head = ResponseHead([:], model: "m", created: 1)
        var dialect = Responses(head: head) { _, _ in }
        let cost = ChatCost(promptTokens: 3, texts: [GenerationUsage()], thoughtTokens: 0)
        let deltas: [ChatAnswer.Delta] = [
            .reasoning("a"), .reasoning("b"), .content("c"),
            .callBegins(index: 0, AnsweredCall(id: "x", name: "f", arguments: "")),
            .arguments(index: 0, "{}"),
            .callBegins(index: 1, AnsweredCall(id: "y", name: "g", arguments: "")),
            .arguments(index: 1, "{}"),
        ]
        _ = dialect.begin(cost) + dialect.add(deltas, [], to: 0, cost)
        var choice = ChatChoice(index: 0)
        choice.reasoning = "ab"
        choice.content = "c"
        choice.calls = ["x", "y"].map {
            AnsweredCall(id: $0, name: $0 == "x" ? "f" : "g", arguments: "{}")
        }
        _ = dialect.finish(choice, cost)
        let streamed = dialect.end(cost).last?.data["response"]?["output"]
        let whole = dialect.whole([choice], cost)["output"]
        #expect(streamed == whole, "\(streamed?.text ?? "") \(whole?.text ?? "")")
        #expect(
            whole?.array?.compactMap { $0["type"]?.string } == [
                "reasoning", "message", "function_call", "function_call",
            ])
    }
}

/// Which responses are kept.
@Suite struct ResponseStoreTests {
    private func found(_ store: ResponseStore, _ id: String) -> Bool {
        do { return try store.response(id, of: "").contains(id) } catch { return false }
    }

    @Test func `responses that were used longest ago give way`() throws {
        let store = ResponseStore(bytes: 1000)
        for index in 0 ..< 9 {
            let text = JSONValue.string(String(repeating: "x", count: 82))
            store.end(
                "\(index)", of: "", ["id": .string("\(index)"), "text": text], turns: [],
                inBackground: false)
            _ = try store.response("0", of: "")
        }
        // Each has some 102 bytes: the ninth fits still, the tenth does not.
        #expect((0 ..< 9).reversed().allSatisfy { found(store, "\($0)") })
        store.end(
            "9", of: "", ["id": "9", "text": .string(String(repeating: "x", count: 82))], turns: [],
            inBackground: false)
        #expect(found(store, "0") && found(store, "9") && !found(store, "8"))
        store.end(
            "large", of: "", ["id": .string(String(repeating: "x", count: 1000))], turns: [],
            inBackground: false)
        #expect(!found(store, "large") && found(store, "0"))
    }

    @Test func `a response under way stays, and is not continued`() throws {
        let store = ResponseStore(bytes: 60)
        try store.begin("a", of: "", ["id": "a"], turns: [["role": "user"]]) {}
        #expect(found(store, "a"))
        #expect(throws: APIError.self) { try store.turns(of: "a", of: "") }
        // A second one has no room while the first is under way; one alone may be too large.
        for (turns, status) in [(20, 429), (50, 400)] {
            do {
                let text = JSONValue.string(String(repeating: "x", count: turns))
                try store.begin("b", of: "", ["id": "b"], turns: [text]) {}
                Issue.record("a response of \(turns) bytes was taken")
            } catch { #expect(error.status == status, "\(error.message)") }
        }
        // An ended one gives way, the one under way does not.
        store.end("c", of: "", ["id": "c"], turns: ["0123456789"], inBackground: false)
        store.end("d", of: "", ["id": "d"], turns: ["0123456789"], inBackground: false)
        #expect(found(store, "a") && !found(store, "c") && found(store, "d"))
        store.end("a", of: "", ["id": "a"], turns: [], inBackground: true)
        #expect(try store.turns(of: "a", of: "").isEmpty)
        try store.delete("a", of: "")
        store.end("a", of: "", ["id": "a"], turns: [], inBackground: true)
        #expect(!found(store, "a"))
    }
}
