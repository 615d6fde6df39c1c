import Benchmarks
import Encoding
import Foundation
import Grammar
import HTTPTypes
import HummingbirdCore
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import Serving

@Suite(.serialized) struct APITests {
    static func withServer(
        ranks: Int = 2, report: Data? = nil,
        adjust: (inout OpenAIServerConfiguration, inout ServingRankConfiguration) -> Void = {
            _, _ in
        },
        _ body: (TestServer) async throws -> Void
    ) async throws {
        let server = try await TestServer(ranks: ranks, report: report, adjust: adjust)
        do { try await body(server) } catch {
            try await server.stop()
            throw error
        }
        try await server.stop()
    }

    @Test func `every endpoint answers, streaming or not`() async throws {
        try await Self.withServer { server in
            #expect(try await server.send(.GET, "/health").status == 200)
            #expect(try await server.send(.GET, "/version").status == 200)
            #expect(try await server.send(.GET, "/v1/models").text.contains("stories-fp8"))
            #expect(try await server.send(.GET, "/v1/models/stories-fp8").status == 200)
            #expect(try await server.send(.GET, "/metrics").text.contains("apus:steps_total{rank"))
            #expect(try await server.send(.GET, "/openapi.json").text.contains("3.1.0"))
            #expect(try await server.send(.GET, "/tokenizer_info").status == 200)
            let (status, answer) = try await server.post(
                "/v1/chat/completions",
                #"{"messages":[{"role":"user","content":"Tell me a story about dog and ball."}],"#
                    + #""max_tokens":24,"temperature":0}"#)
            #expect(status == 200)
            let text = answer["choices"]?.array?.first?["message"]?["content"]?.string ?? ""
            #expect(text.split(separator: " ").count > 10, "\(answer.text)")
            #expect(answer["usage"]?["completion_tokens"]?.integer == 24)
            let (chunks, isDone) = try await server.stream(
                "/v1/chat/completions",
                #"{"messages":[{"role":"user","content":"Tell me a story about dog and ball."}],"#
                    + #""max_tokens":24,"temperature":0,"stream":true,"#
                    + #""stream_options":{"include_usage":true}}"#)
            let streamed = chunks.compactMap {
                $0["choices"]?.array?.first?["delta"]?["content"]?.string
            }.joined()
            #expect(streamed == text && isDone)
            #expect(chunks.last?["usage"]?["completion_tokens"]?.integer == 24)
        }
    }

    @Test func `a tokenized prompt gives the text back`() async throws {
        try await Self.withServer(ranks: 1) { server in
            let (_, tokens) = try await server.post(
                "/tokenize", #"{"prompt":"Once upon a time","add_special_tokens":false}"#)
            let (_, text) = try await server.post(
                "/detokenize", #"{"tokens":\#(tokens["tokens"]?.text ?? "")}"#)
            #expect(text["prompt"]?.string == "Once upon a time")
            let (status, answer) = try await server.post(
                "/v1/completions",
                #"{"prompt":[\#(tokens["tokens"]?.text ?? "")],"max_tokens":1,"echo":true,"#
                    + #""logprobs":1,"temperature":0}"#)
            #expect(status == 200)
            let scores = answer["choices"]?.array?.first?["logprobs"]
            let count = tokens["count"]?.integer ?? 0
            #expect(scores?["token_logprobs"]?.array?.count == count + 1)
            #expect(scores?["token_logprobs"]?.array?.first?.isNull == true)
            #expect(scores?["top_logprobs"]?.array?.last?.object?.isEmpty == false)
        }
    }

    @Test func `stop strings, several choices and constrained JSON`() async throws {
        try await Self.withServer(ranks: 1) { server in
            let story = #""messages":[{"role":"user","content":"Tell me a story about rain."}]"#
            let (_, stopped) = try await server.post(
                "/v1/chat/completions",
                #"{\#(story),"max_tokens":60,"temperature":0,"stop":["was"]}"#)
            let choice = stopped["choices"]?.array?.first
            #expect(choice?["finish_reason"]?.string == "stop")
            #expect(choice?["message"]?["content"]?.string?.contains("was") == false)
            let (_, several) = try await server.post(
                "/v1/chat/completions", #"{\#(story),"max_tokens":8,"n":3,"seed":5}"#)
            #expect(several["choices"]?.array?.count == 3)
            let (_, again) = try await server.post(
                "/v1/chat/completions", #"{\#(story),"max_tokens":8,"n":3,"seed":5}"#)
            #expect(several["choices"] == again["choices"])
            let schema =
                #"{"type":"object","properties":{"name":{"type":"string"},"age":{"#
                + #""type":"integer"}},"required":["name","age"],"additionalProperties":false}"#
            let (status, json) = try await server.post(
                "/v1/chat/completions",
                #"{\#(story),"max_tokens":40,"response_format":{"type":"json_schema","#
                    + #""json_schema":{"name":"x","schema":\#(schema)}}}"#)
            #expect(status == 200)
            let text = json["choices"]?.array?.first?["message"]?["content"]?.string ?? ""
            let value = try JSONValue.parse(text)
            #expect(value["name"]?.string != nil && value["age"]?.integer != nil)
            let (_, call) = try await server.post(
                "/v1/chat/completions",
                #"{\#(story),"max_tokens":40,"tools":[{"type":"function","function":{"#
                    + #""name":"weather","parameters":\#(schema)}}],"tool_choice":"required"}"#)
            let called = call["choices"]?.array?.first
            #expect(called?["finish_reason"]?.string == "tool_calls", "\(call.text)")
            let function = called?["message"]?["tool_calls"]?.array?.first?["function"]
            #expect(function?["name"]?.string == "weather")
            #expect(try JSONValue.parse(function?["arguments"]?.string ?? "")["age"] != nil)
        }
    }

    /// Requests that are wrong, each with the status it must get.
    static let badRequests: [(path: String, body: String, status: Int)] = [
        ("/v1/chat/completions", "{", 400), ("/v1/chat/completions", "[]", 400),
        ("/v1/chat/completions", "{}", 400), ("/v1/completions", #"{"prompt":7}"#, 400),
        ("/v1/completions", #"{"prompt":"a","temperature":"hot"}"#, 400),
        ("/v1/completions", #"{"prompt":"a","temperature":1e999}"#, 400),
        ("/v1/completions", #"{"prompt":"a","temperature":NaN}"#, 400),
        ("/v1/completions", #"{"prompt":"a","n":1000000000}"#, 400),
        ("/v1/completions", #"{"prompt":"a","max_tokens":99999999999}"#, 400),
        ("/v1/completions", #"{"prompt":"a","max_tokens":-1}"#, 400),
        ("/v1/completions", #"{"prompt":"a","logit_bias":{"x":1}}"#, 400),
        ("/v1/completions", #"{"prompt":"a","logit_bias":{"99999":1}}"#, 400),
        ("/v1/completions", #"{"prompt":[999999]}"#, 400),
        ("/v1/completions", #"{"prompt":"a","model":"gpt"}"#, 404),
        ("/v1/completions", #"{"prompt":"a","a":"# + String(repeating: "[", count: 500), 400),
        (
            "/v1/completions",
            #"{"prompt":"a","stop":["# + String(repeating: #""x","#, count: 200) + #""x"]}"#, 400
        ),
        (
            "/v1/completions",
            #"{"prompt":"\#(String(repeating: "word ", count: 4000))","max_tokens":4}"#, 400
        ),
        (
            "/v1/chat/completions",
            #"{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","#
                + #""json_schema":{"schema":{"type":"string","pattern":"(a)\\1"}}}}"#, 400
        ),
        ("/nowhere", "{}", 404), ("/v1/models", "{}", 405),
    ]

    @Test func `wrong requests get their status, a reason, and harm nobody`() async throws {
        try await Self.withServer { server in
            for bad in Self.badRequests {
                let (status, body) = try await server.post(bad.path, bad.body)
                #expect(status == bad.status, "\(bad.path) \(bad.body.prefix(80))")
                #expect(body["error"]?["message"]?.string?.isEmpty == false)
            }
            #expect(try await server.send(.GET, "/health").status == 200)
        }
    }

    @Test func `a body over the limit is refused before it is read`() async throws {
        try await Self.withServer(ranks: 1, adjust: { api, _ in api.limits.bodyBytes = 1000 }) {
            let body = #"{"prompt":"\#(String(repeating: "a", count: 2000))"}"#
            let status = try await $0.post("/v1/completions", body).status
            #expect(status == 413)
        }
    }

    @Test func `more texts than permits are refused, without hope of a later time`() async throws {
        try await Self.withServer(ranks: 1, adjust: { api, _ in api.limits.generations = 4 }) {
            let (status, body) = try await $0.post("/v1/completions", #"{"prompt":"a","n":5}"#)
            #expect(status == 400)
            #expect(body["error"]?["param"]?.string == "n")
        }
    }

    @Test func `a wrong method is answered with the methods that the path takes`() {
        let error = OpenAIResponder.wrongMethod("/x", ["GET", "POST"])
        #expect(error.allow == ["GET", "POST"])
        #expect(error.message == "/x takes GET, POST")
        #expect(OpenAIResponder.response(error, body: error.body).headers[.allow] == "GET, POST")
    }

    @Test func `a schema of one process is compiled once, at the API and on all ranks`()
        async throws
    {
        try await Self.withServer(ranks: 2) { server in
            let body =
                #"{"prompt":"a","max_tokens":16,"n":4,"structured_outputs":{"json":{"type":"#
                + #""integer","minimum":7,"maximum":8}}}"#
            for _ in 0 ..< 2 {
                let status = try await server.post("/v1/completions", body).status
                #expect(status == 200)
            }
            #expect(server.grammars.compilationCount == 1)
        }
    }

    @Test func `without the key nothing but probes answers`() async throws {
        try await Self.withServer(ranks: 1, adjust: { api, _ in api.keys = ["secret"] }) {
            for (path, wanted) in [("/health", 200), ("/v1/models", 401), ("/metrics", 401)] {
                let status = try await $0.send(.GET, path).status
                #expect(status == wanted)
            }
            for key in ["secret", "secre", "secret2", ""] {
                let status = try await $0.send(
                    .GET, "/v1/models", headers: [("authorization", "Bearer \(key)")]
                ).status
                #expect(status == (key == "secret" ? 200 : 401))
            }
        }
    }

    @Test func `a client that disconnects returns its permit within a step`() async throws {
        try await Self.withServer { server in
            // The context has room for 2048.
            let body =
                #"{"prompt":"Once","max_tokens":1900,"ignore_eos":true,"stream":true,"n":4}"#
            let reader = Task { try await server.send(.POST, "/v1/completions", body) }
            try await Wait.until("a token") { server.generatedTokens > 0 }
            reader.cancel()
            _ = await reader.result
            try await Wait.until("no request runs") { server.running == 0 }
            // Long before the texts would have ended by themselves.
            #expect(server.generatedTokens < 4 * 1900 / 2)
        }
    }

    @Test(arguments: [
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\n",
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"pro",
    ])
    func `a client that never ends its request is cut off`(beginning: String) async throws {
        try await Self.withServer(ranks: 1, adjust: { api, _ in api.limits.idleSeconds = 1 }) {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: $0.port).get()
            try await channel.writeAndFlush(ByteBuffer(string: beginning))
            try await Wait.until("the server closes the connection") { !channel.isActive }
        }
    }

    @Test func `a header over the limit is refused`() async throws {
        try await Self.withServer(ranks: 1) {
            let header = ("x-large", String(repeating: "a", count: 40_000))
            let status = try await $0.send(.GET, "/health", headers: [header]).status
            #expect(status >= 400 && status < 500)
        }
    }

    @Test func `the description of the API is the one that requests are checked with`() async throws
    {
        try await Self.withServer(ranks: 1) { server in
            let document = try JSONValue.parse(try await server.send(.GET, "/openapi.json").text)
            let post = document["paths"]?["/v1/completions"]?["post"]
            let schema = post?["requestBody"]?["content"]?["application/json"]?["schema"]
            #expect(schema?["required"] == ["prompt"])
            #expect(schema?["properties"]?["prompt"] != nil)
        }
    }

    @Test func `shutting down answers what is under way`() async throws {
        let server = try await TestServer()
        let body = #"{"prompt":"Once upon","max_tokens":1000,"ignore_eos":true,"temperature":0}"#
        let answer = Task { try await server.post("/v1/completions", body) }
        try await Wait.until("a token") { server.generatedTokens > 0 }
        await server.drain()
        #expect(server.generatedTokens < 1000, "the text ended before it could be cut")
        let (status, json) = try await answer.value
        #expect(status == 200)
        #expect(json["usage"]?["completion_tokens"]?.integer == 1000)
        try await server.stop()
    }

    @Test func `the benchmark counts every token it asked for`() async throws {
        try await Self.withServer { server in
            var load = ServeBenchmark.Configuration()
            load.port = server.port
            load.prompts = 6
            load.inputTokens = 9
            load.outputTokens = 7
            load.concurrency = 3
            let report = try await ServeBenchmark(load).run()
            #expect(report.errors.isEmpty, "\(report.errors)")
            let json = try JSONValue.parse(report.json)
            #expect(json["total_output_tokens"]?.integer == 42)
            #expect(report.text.contains("Median TTFT (ms):"))
        }
    }
}
