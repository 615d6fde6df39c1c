import Encoding
import Language
import NIOHTTP1
import Testing

@testable import Serving

/// Anthropic's Messages API.
@Suite(.serialized) struct MessagesTests {
    private static func chat(_ text: String) throws -> JSONValue {
        let body = try JSONValue.parse(text)
        try MemberTests.shapes.messages.check(body, at: "")
        return try MessagesRequest.chat(body)
    }

    private static func request(_ messages: String, _ more: String = "") -> String {
        #"{"model":"stories-fp8","max_tokens":20,"messages":[\#(messages)]\#(more)}"#
    }

    @Test func `blocks become turns, and results stand in the order of their calls`() throws {
        let messages = """
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},
              {"type":"text","text":"I look."},
              {"type":"tool_use","id":"1","name":"f","input":{"x":1}},
              {"type":"tool_use","id":"2","name":"g","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"2","content":"two"},
              {"type":"tool_result","tool_use_id":"1",
               "content":[{"type":"text","text":"one"}],"is_error":false},
              {"type":"text","text":"Go on."}]}
            """
        let chat = try Self.chat(Self.request(messages, #","system":"S""#))
        let wanted = try JSONValue.parse(
            """
            [{"role":"system","content":"S"},{"role":"user","content":"a\\nb"},
             {"role":"assistant","content":"I look.","reasoning_content":"t","tool_calls":[
               {"id":"1","type":"function","function":{"name":"f","arguments":"{\\"x\\":1}"}},
               {"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
             {"role":"tool","tool_call_id":"1","content":"one"},
             {"role":"tool","tool_call_id":"2","content":"two"},
             {"role":"user","content":"Go on."}]
            """)
        #expect(chat["messages"] == wanted, "\(chat["messages"]?.text ?? "")")
    }

    @Test func `members have their counterparts in chats`() throws {
        let chat = try Self.chat(
            Self.request(
                #"{"role":"user","content":"Hi"}"#,
                """
                ,"stop_sequences":["x"],"tools":[{"name":"f","input_schema":{"type":"object"}}],
                "tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
                "top_k":3,
                "output_config":{"format":{"type":"json_schema","schema":{"type":"string"}}}
                """))
        #expect(chat["stop"] == ["x"] && chat["top_k"] == 3 && chat["max_tokens"] == 20)
        #expect(chat["tool_choice"] == ["type": "function", "function": ["name": "f"]])
        #expect(chat["parallel_tool_calls"] == false)
        let user = #"{"role":"user","content":"Hi"}"#
        let thinking = #","thinking":{"type":"enabled","budget_tokens":9}"#
        let thinks = try Self.chat(Self.request(user, thinking))
        #expect(thinks["chat_template_kwargs"] == ["thinking": true])
        #expect(thinks["thinking_token_budget"] == 9)
        let tools = #","tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"}"#
        #expect(throws: APIError.self) { try Self.chat(Self.request(user, thinking + tools)) }
        #expect(chat["response_format"]?["json_schema"]?["schema"] == ["type": "string"])
        let tool = chat["tools"]?.array?.first?["function"]
        #expect(tool == ["name": "f", "parameters": ["type": "object"]])
    }

    @Test(arguments: [
        (#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"7"}]}"#, "tool_use_id"),
        (
            #"{"role":"user","content":[{"type":"tool_use","id":"7","name":"f","input":{}}]}"#,
            "type"
        ),
        (#"{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"7"}]}"#, "type"),
        (
            #"{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","#
                + #""id":"7","name":"f","input":{}}]}"#, "tool_result is missing"
        ),
        (
            #"{"role":"assistant","content":[{"type":"tool_use","id":"7","name":"f","#
                + #""input":{}}]},{"role":"user","content":"a"}"#, "tool_result is missing"
        ),
        (#"{"role":"user","content":[{"type":"image","source":{}}]}"#, "must be one of text"),
    ])
    func `blocks where they mean nothing are refused`(_ messages: String, _ word: String) {
        do {
            _ = try Self.chat(Self.request(messages))
            Issue.record("\(messages) was taken")
        } catch let error as APIError {
            #expect(error.status == 400 && error.message.contains(word), "\(error.message)")
        } catch { Issue.record("\(error)") }
    }

    /// The members of Anthropic's `MessageCreateParams` and of what it holds (SDK 2.14.0; the first
    /// line has those of earlier ones, too).
    @Test func `every published member of a request is known`() throws {
        let words = """
            temperature top_p top_k output_format mcp_servers context_management \
            cache_control container diagnostics inference_geo max_tokens messages metadata model \
            output_config service_tier speed stop_sequences system thinking tool_choice tools \
            user_profile_id workspace_id stream
            """
        let names = Set(MemberTests.names(MemberTests.shapes.messages))
        for word in MemberTests.words(words) { #expect(names.contains(word), "\(word)") }
        let count = "cache_control messages model output_config speed system thinking tools"
        let counted = Set(MemberTests.names(MemberTests.shapes.countTokens))
        for word in MemberTests.words(count) { #expect(counted.contains(word), "\(word)") }
    }
}

/// The events of a stream, and whole answers, over HTTP.
extension MessagesTests {
    private static let path = "/v1/messages"

    @Test func `a stream says what the whole answer says`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let user = #"{"role":"user","content":"Tell me a story."}"#
            let more = #","temperature":0.7,"seed":4"#
            let (status, whole) = try await server.post(Self.path, Self.request(user, more))
            #expect(status == 200, "\(whole.text)")
            #expect(whole["stop_reason"] == "max_tokens" && whole["type"] == "message")
            #expect(whole["usage"]?["output_tokens"] == 20)
            let text = whole["content"]?.array?.first?["text"]?.string ?? ""
            #expect(text.count > 20)
            let (events, isDone) = try await server.stream(
                Self.path, Self.request(user, more + #","stream":true"#))
            #expect(!isDone)
            let types = events.compactMap { $0["type"]?.string }
            #expect(types.first == "message_start" && types.last == "message_stop")
            #expect(types.dropLast().last == "message_delta")
            #expect(types.filter { $0 == "content_block_start" }.count == 1)
            let deltas = events.compactMap { $0["delta"]?["text"]?.string }
            #expect(deltas.joined() == text)
            let end = events.dropLast().last
            #expect(end?["delta"]?["stop_reason"] == "max_tokens")
            #expect(end?["usage"]?["output_tokens"] == 20)
            let (_, stopped) = try await server.post(
                Self.path, Self.request(user, more + #","stop_sequences":["zzz"," "]"#))
            #expect(stopped["stop_reason"] == "stop_sequence" && stopped["stop_sequence"] == " ")
            let (_, tokens) = try await server.post(
                Self.path + "/count_tokens", #"{"model":"stories-fp8","messages":[\#(user)]}"#)
            #expect(
                tokens["input_tokens"]?.integer == (whole["usage"]?["input_tokens"]?.integer ?? 0)
                    + (whole["usage"]?["cache_read_input_tokens"]?.integer ?? 0))
        }
    }

    @Test func `forced calls are blocks of their own`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let more = """
                ,"tools":[{"name":"f","input_schema":{"type":"object","properties":
                {"n":{"enum":[41]}},"required":["n"],"additionalProperties":false}}],
                "tool_choice":{"type":"any"}
                """
            let user = #"{"role":"user","content":"Hi"}"#
            let (status, whole) = try await server.post(Self.path, Self.request(user, more))
            #expect(status == 200 && whole["stop_reason"] == "tool_use", "\(whole.text)")
            let block = whole["content"]?.array?.first
            #expect(block?["type"] == "tool_use" && block?["input"] == ["n": 41])
            let (events, _) = try await server.stream(
                Self.path, Self.request(user, more + #","stream":true"#))
            let json = events.compactMap { $0["delta"]?["partial_json"]?.string }.joined()
            #expect(try JSONValue.parse(json) == ["n": 41])
        }
    }

    @Test func `errors are Anthropic's, and either header has the key`() async throws {
        try await APITests.withServer(ranks: 1) { configuration, _ in
            configuration.keys = ["secret"]
        } _: { server in
            let body = Self.request(#"{"role":"user","content":"Hi"}"#)
            let (status, text) = try await server.send(.POST, Self.path, body)
            let error = try JSONValue.parse(text)
            #expect(status == 401 && error["type"] == "error")
            #expect(error["error"]?["type"] == "authentication_error")
            for header in [("x-api-key", "secret"), ("authorization", "Bearer secret")] {
                #expect(
                    try await server.send(.POST, Self.path, body, headers: [header]).status == 200)
            }
            let wrong = try await server.send(
                .POST, Self.path, #"{"model":"stories-fp8","messages":[]}"#,
                headers: [("x-api-key", "secret")])
            #expect(wrong.status == 400 && wrong.text.contains("max_tokens is missing"))
            let thinking = Self.request(
                #"{"role":"user","content":"Hi"}"#,
                #","thinking":{"type":"enabled","budget_tokens":5}"#)
            let refused = try await server.send(
                .POST, Self.path, thinking, headers: [("x-api-key", "secret")])
            #expect(refused.status == 400 && refused.text.contains("thinking cannot change it"))
        }
    }

    @Test func `thoughts, text and calls are blocks one after the other`() {
        var dialect = Messages(id: "1", model: "m")
        let cost = ChatCost(promptTokens: 3, texts: [GenerationUsage()], thoughtTokens: 0)
        let deltas: [ChatAnswer.Delta] = [
            .reasoning("a"), .reasoning("b"), .content("c"),
            .callBegins(index: 0, AnsweredCall(id: "x", name: "f", arguments: "")),
            .arguments(index: 0, "{}"),
            .callBegins(index: 1, AnsweredCall(id: "y", name: "g", arguments: "")),
            .arguments(index: 1, "{}"),
        ]
        var events = dialect.begin(cost) + dialect.add(deltas, [], to: 0, cost)
        events += dialect.finish(ChatChoice(index: 0), cost) + dialect.end(cost)
        let said = events.map { event in
            "\(event.name ?? "") \(event.data["index"]?.integer.map(String.init) ?? "")"
        }
        let block = { (index: Int, count: Int) in
            ["content_block_start \(index)"]
                + Array(repeating: "content_block_delta \(index)", count: count)
                + ["content_block_stop \(index)"]
        }
        #expect(
            said == ["message_start "] + block(0, 2) + block(1, 1) + block(2, 1) + block(3, 1)
                + ["message_delta ", "message_stop "])
    }
}
