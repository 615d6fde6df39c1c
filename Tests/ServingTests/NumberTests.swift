import Encoding
import Foundation
import Language
import Testing

@testable import Serving

/// What a request cost and where its tokens stand.
@Suite(.serialized) struct NumberTests {
    static func usage(_ cached: Int, _ generated: Int) -> GenerationUsage {
        var usage = GenerationUsage()
        usage.cachedTokens = cached
        usage.generatedTokens = generated
        return usage
    }

    static func cached(_ value: JSONValue) -> Int? {
        value["prompt_tokens_details"]?["cached_tokens"]?.integer
    }

    @Test func `cached tokens are never more than there are`() {
        let texts = [
            Self.usage(0, 5), Self.usage(256, 5), Self.usage(256, 5), Self.usage(256, 5),
        ]
        let one = AnswerWriter.usage(texts, prompts: [300])
        #expect(one["prompt_tokens"]?.integer == 300 && Self.cached(one) == 0)
        #expect(one["completion_tokens"]?.integer == 20)
        let all = AnswerWriter.usage(
            texts.map { Self.usage(256, $0.generatedTokens) }, prompts: [300])
        #expect(Self.cached(all) == 256)
        // A text that gave its blocks back finds its own tokens again.
        #expect(Self.cached(AnswerWriter.usage([Self.usage(320, 40)], prompts: [300])) == 300)
        let two = AnswerWriter.usage(
            [Self.usage(16, 1), Self.usage(32, 1), Self.usage(64, 1), Self.usage(48, 1)],
            prompts: [20, 50])
        #expect(Self.cached(two) == 16 + 48)
    }

    static let chat =
        #""messages":[{"role":"user","content":"Tell me a story about rain."}],"max_tokens":12,"#
        + #""temperature":0,"ignore_eos":true"#

    @Test(arguments: [
        ("/v1/chat/completions", chat),
        ("/v1/completions", #""prompt":"Once upon","max_tokens":12,"temperature":0"#),
        ("/v1/completions", #""prompt":["Once","One day"],"n":2,"max_tokens":6,"seed":3"#),
    ])
    func `running usage grows with the text to what it cost`(path: String, members: String)
        async throws
    {
        try await APITests.withServer(ranks: 1) { server in
            let (chunks, isDone) = try await server.stream(
                path,
                "{\(members),\"stream\":true,\"stream_options\":{\"include_usage\":true,"
                    + "\"continuous_usage_stats\":true}}")
            #expect(isDone)
            let counts = chunks.map { $0["usage"]?["completion_tokens"]?.integer ?? -1 }
            #expect(counts.allSatisfy { $0 >= 0 } && counts == counts.sorted(), "\(counts)")
            #expect(counts.last == counts.max() && Set(counts).count > 5, "\(counts)")
            let last = chunks.last?["usage"]
            #expect(
                chunks.dropLast().last?["usage"]?["completion_tokens"] == last?["completion_tokens"]
            )
            #expect(Set(chunks.compactMap { $0["usage"]?["prompt_tokens"]?.integer }).count == 1)
        }
    }

    @Test func `a stream that echoes has the scores and offsets of the whole answer`() async throws
    {
        try await APITests.withServer(ranks: 1) { server in
            let members =
                #""prompt":["Once upon a time, naïve 😀 cats","One"],"max_tokens":6,"echo":true,"#
                + #""logprobs":1,"temperature":0,"ignore_eos":true"#
            let (_, whole) = try await server.post("/v1/completions", "{\(members)}")
            let (chunks, _) = try await server.stream(
                "/v1/completions", "{\(members),\"stream\":true}")
            for (index, choice) in (whole["choices"]?.array ?? []).enumerated() {
                let mine = chunks.compactMap { $0["choices"]?.array?.first }.filter {
                    $0["index"]?.integer == index
                }
                #expect(mine.compactMap { $0["text"]?.string }.joined() == choice["text"]?.string)
                for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                    let joined = mine.flatMap { $0["logprobs"]?[name]?.array ?? [] }
                    #expect(joined.count == choice["logprobs"]?[name]?.array?.count, "\(name)")
                    if name == "tokens" || name == "text_offset" {
                        #expect(.array(joined) == choice["logprobs"]?[name])
                    }
                }
            }
            try Self.expectOffsets(try #require(whole["choices"]?.array?.first))
        }
    }

    /// Each token stands where its offset says, as Python would count.
    static func expectOffsets(_ choice: JSONValue) throws {
        let text = Array((choice["text"]?.string ?? "").unicodeScalars)
        let tokens = (choice["logprobs"]?["tokens"]?.array ?? []).compactMap(\.string)
        let offsets = (choice["logprobs"]?["text_offset"]?.array ?? []).compactMap(\.integer)
        #expect(tokens.count == offsets.count && offsets == offsets.sorted())
        #expect(offsets.first == 0)
        for (token, offset) in zip(tokens, offsets)
        where !token.contains("\u{FFFD}") && !token.hasPrefix("<｜") {
            let scalars = Array(token.unicodeScalars)
            try #require(offset + scalars.count <= text.count)
            #expect(Array(text[offset ..< offset + scalars.count]) == scalars)
        }
    }

    @Test func `a stop string counts after min_tokens`() {
        var scanner = StopScanner(["ab", "abc"])
        #expect(scanner.append("xab", mayStop: false) == "x")
        #expect(scanner.append("d", mayStop: true) == "abd" && !scanner.hasStopped)
        #expect(scanner.append("a", mayStop: false) == "")
        // It begins before, and ends after.
        #expect(scanner.append("b", mayStop: true) == "" && scanner.hasStopped)
    }

    @Test func `min_tokens holds a stop string off`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let members = #""prompt":"Once upon a time","max_tokens":40,"temperature":0,"stop":" ""#
            let (_, short) = try await server.post("/v1/completions", "{\(members)}")
            #expect(short["usage"]?["completion_tokens"]?.integer ?? 99 < 5)
            let (_, long) = try await server.post(
                "/v1/completions", "{\(members),\"min_tokens\":20}")
            let count = long["usage"]?["completion_tokens"]?.integer ?? 0
            #expect(count > 20 && count < 30)
            #expect(long["choices"]?.array?.first?["finish_reason"]?.string == "stop")
        }
    }

    @Test func `a prompt that is too long says so in the words that clients search`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let long = String(repeating: "word ", count: 4000)
            for (path, body, name) in [
                ("/v1/completions", #"{"prompt":"\#(long)"}"#, "prompt"),
                (
                    "/v1/chat/completions",
                    #"{"messages":[{"role":"user","content":"\#(long)"}]}"#, "messages"
                ),
                ("/v1/completions", #"{"prompt":"a","max_tokens":9999}"#, "max_tokens"),
                (
                    "/v1/chat/completions",
                    #"{"messages":[{"role":"user","content":"a"}],"max_completion_tokens":9999}"#,
                    "max_completion_tokens"
                ),
            ] {
                let (status, answer) = try await server.post(path, body)
                let error = answer["error"]
                #expect(status == 400 && error?["code"]?.string == "context_length_exceeded")
                #expect(error?["param"]?.string == name)
                let message = error?["message"]?.string ?? ""
                #expect(message.contains(/maximum context length is \d+ tokens/), "\(message)")
            }
        }
    }

    @Test func `an answer continues the last message, and a tokenized chat shows its prompt`()
        async throws
    {
        try await APITests.withServer(ranks: 1) { server in
            let chat =
                #""messages":[{"role":"user","content":"Tell me a story."},"#
                + #"{"role":"assistant","content":"Once upon a time","prefix":true}]"#
            let (status, tokens) = try await server.post("/tokenize", "{\(chat)}")
            #expect(status == 200)
            let (_, text) = try await server.post(
                "/detokenize", #"{"tokens":\#(tokens["tokens"]?.text ?? "")}"#)
            #expect(text["prompt"]?.string?.hasSuffix("Once upon a time") == true, "\(text.text)")
            let (_, answer) = try await server.post(
                "/v1/chat/completions", #"{\#(chat),"max_tokens":8,"temperature":0}"#)
            let content = answer["choices"]?.array?.first?["message"]?["content"]?.string
            let (_, same) = try await server.post(
                "/v1/completions",
                #"{"prompt":\#(tokens["tokens"]?.text ?? ""),"max_tokens":8,"temperature":0}"#)
            #expect(content == same["choices"]?.array?.first?["text"]?.string)
        }
    }
}
