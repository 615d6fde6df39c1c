import Encoding
import Testing

@testable import Serving

/// Chats over HTTP, with answers that a constraint forces: the parser needs no model that calls.
@Suite(.serialized) struct ChatAPITests {
    private static let call =
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time```json\n"
        + "{\"tz\":\"UTC\"}\n```<｜tool▁call▁end｜>"
    private static let tools: JSONValue = [
        ["type": "function", "function": ["name": "get_time", "description": "The time."]],
        ["type": "function", "function": ["name": "now"]],
    ]

    private static func body(
        _ forced: String, _ more: [(key: String, value: JSONValue)] = []
    ) -> String {
        let given: [(key: String, value: JSONValue)] = [
            ("messages", [["role": "user", "content": "Hi"]]), ("tools", tools),
            ("structured_outputs", ["choice": [.string(forced)]]), ("temperature", 0),
            ("max_tokens", 400),
        ]
        let kept = given.filter { member in !more.contains { $0.key == member.key } }
        return JSONValue.object(kept + more).text
    }

    private static func choice(_ value: JSONValue) -> JSONValue? { value["choices"]?.array?.first }

    @Test func `calls are whole or none, and their arguments stream`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let path = "/v1/chat/completions"
            let (status, whole) = try await server.post(path, Self.body(Self.call))
            #expect(status == 200, "\(whole.text)")
            let message = Self.choice(whole)?["message"]
            #expect(Self.choice(whole)?["finish_reason"]?.string == "tool_calls", "\(whole.text)")
            let function = message?["tool_calls"]?.array?.first?["function"]
            #expect(function?["name"]?.string == "get_time")
            #expect(function?["arguments"]?.string == #"{"tz":"UTC"}"#)
            let stream = Self.body(Self.call, [("stream", true)])
            let (chunks, isDone) = try await server.stream(path, stream)
            let deltas = chunks.compactMap {
                Self.choice($0)?["delta"]?["tool_calls"]?.array?.first?["function"]
            }
            let arguments = deltas.compactMap { $0["arguments"]?.string }
            #expect(arguments.joined() == #"{"tz":"UTC"}"# && arguments.count > 3 && isDone)
            #expect(deltas.compactMap { $0["name"]?.string } == ["get_time"])
            // Cut by a stop string.
            let (_, cut) = try await server.post(
                path, Self.body(Self.call, [("stop", JSONValue.array(["UTC"]))]))
            let choice = Self.choice(cut)
            #expect(choice?["finish_reason"]?.string == "stop", "\(cut.text)")
            #expect(choice?["message"]?["tool_calls"] == nil, "\(cut.text)")
            let two = Self.body(Self.call + Self.call.dropFirst("<｜tool▁calls▁begin｜>".count))
            let (_, both) = try await server.post(path, two)
            #expect(Self.choice(both)?["message"]?["tool_calls"]?.array?.count == 2)
            let (_, one) = try await server.post(
                path,
                Self.body(
                    Self.call + Self.call.dropFirst("<｜tool▁calls▁begin｜>".count),
                    [("parallel_tool_calls", false)]))
            #expect(Self.choice(one)?["message"]?["tool_calls"]?.array?.count == 1)
            #expect(Self.choice(one)?["finish_reason"]?.string == "tool_calls")
            // A stop string inside a thought does not end the answer.
            let thought = "<think>Stop here.</think>The end. Stop."
            let (_, thinks) = try await server.post(
                path, Self.body(thought, [("stop", ["Stop"])]))
            let answer = Self.choice(thinks)?["message"]
            #expect(answer?["content"]?.string == "The end. ", "\(thinks.text)")
            #expect(answer?["reasoning_content"]?.string == "Stop here.")
            #expect(Self.choice(thinks)?["finish_reason"]?.string == "stop")
        }
    }

    @Test func `tokenize counts what a chat's prompt costs`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let (_, answer) = try await server.post(
                "/v1/chat/completions", Self.body("Yes"))
            let prompt = answer["usage"]?["prompt_tokens"]?.integer
            let messages = #""messages":[{"role":"user","content":"Hi"}]"#
            let (status, tokens) = try await server.post(
                "/tokenize", #"{\#(messages),"tools":\#(Self.tools.text)}"#)
            #expect(status == 200 && tokens["count"]?.integer == prompt, "\(tokens.text)")
            let (_, plain) = try await server.post("/tokenize", "{\(messages)}")
            #expect((plain["count"]?.integer ?? 0) < (prompt ?? 0))
            let (_, open) = try await server.post(
                "/tokenize", #"{\#(messages),"add_generation_prompt":false}"#)
            #expect((open["count"]?.integer ?? 0) + 1 == plain["count"]?.integer)
            for wrong in [#""thinking":true"#, #""enable_thinking":true"#] {
                for path in ["/tokenize", "/v1/chat/completions"] {
                    let (status, error) = try await server.post(
                        path, #"{\#(messages),"chat_template_kwargs":{\#(wrong)}}"#)
                    #expect(status == 400)
                    #expect(error["error"]?["param"]?.string == "chat_template_kwargs")
                }
            }
        }
    }
}
