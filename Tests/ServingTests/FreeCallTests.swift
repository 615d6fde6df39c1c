import Encoding
import Foundation
import Grammar
import Language
import Testing

@testable import Serving

/// Calls that a model makes by itself keep to their form and their tools.
@Suite(.serialized) struct FreeCallTests {
    /// The small model, whose last words are other tokens: those of a form of calls.
    static func folder(_ tokens: [String]) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        let files = FileManager.default
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in try files.contentsOfDirectory(atPath: Golden.stories)
        where name != "tokenizer.json" {
            try files.createSymbolicLink(
                atPath: folder.path + "/" + name,
                withDestinationPath: URL(filePath: Golden.stories + "/" + name).path)
        }
        let data = try Data(contentsOf: URL(filePath: Golden.stories + "/tokenizer.json"))
        var file = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
        var model = try #require(file["model"] as? [String: Any])
        let words = try #require(model["vocab"] as? [String: Int])
        let merges = try #require(model["merges"] as? [Any])
        let first = words.count - tokens.count
        model["vocab"] = words.filter { $0.value < first }
        model["merges"] = Array(merges.dropLast(tokens.count))
        file["model"] = model
        let added = try #require(file["added_tokens"] as? [[String: Any]])
        file["added_tokens"] =
            added
            + tokens.enumerated().map { index, token in
                var entry = added[0]
                entry["id"] = first + index
                entry["content"] = token
                return entry
            }
        try JSONSerialization.data(withJSONObject: file)
            .write(to: folder.appending(path: "tokenizer.json"))
        return folder.path
    }

    static let deepSeek = [
        "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
    ]
    static let kimi = [
        "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
        "<|tool_call_end|>", "<|tool_call_argument_begin|>", "<|im_user|>", "<|im_assistant|>",
        "<|im_system|>", "<|im_middle|>", "<|im_end|>",
    ]

    static let glm = [
        "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
        "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
        "<tool_response>", "</tool_response>", "<think>", "</think>",
    ]

    static let qwen = [
        "<tool_call>", "</tool_call>", "<|im_start|>", "<|im_end|>", "<think>", "</think>",
    ]
    static let minimax = [
        "<minimax:tool_call>", "</minimax:tool_call>", "]~b]", "[e~[", "]~!b[", "<think>",
        "</think>",
    ]
    static let harmony = HarmonyToken.allCases.map(\.rawValue)
    static let marked = ["｜DSML｜", "<think>", "</think>"]

    static let tools = """
        [{"type":"function","function":{"name":"paint","parameters":{"type":"object",
          "properties":{"colour":{"enum":["red","blue"]},"coats":{"type":"integer","minimum":1,
          "maximum":9}},"required":["colour","coats"],"additionalProperties":false}}},
         {"type":"function","function":{"name":"wait"}}]
        """

    static func withServer(
        _ style: String, _ tokens: [String], _ body: (TestServer, _ begin: Int) async throws -> Void
    ) async throws {
        let folder = try folder(tokens)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let text = try ModelText(directory: folder, name: "stories-fp8", chatStyle: style)
        let begin = try #require(text.tokenizer.id(of: tokens[0]))
        let server = try await TestServer(ranks: 1, text: text) { _, rank in
            rank.directory = folder
        }
        do { try await body(server, begin) } catch {
            try await server.stop()
            throw error
        }
        try await server.stop()
    }

    /// A request whose text is made to begin calls.
    private static func request(
        _ begin: Int, seed: Int, tools: String = tools, more: String = ""
    ) -> String {
        #"{"messages":[{"role":"user","content":"Go"}],"max_tokens":240,"temperature":1.5,"#
            + #""seed":\#(seed),"tools":\#(tools),"logit_bias":{"\#(begin)":100}\#(more)}"#
    }

    static func check(_ calls: [JSONValue]) throws {
        for call in calls {
            let function = try #require(call["function"])
            let text = try #require(function["arguments"]?.string)
            let arguments = try JSONValue.parse(text)
            switch function["name"]?.string {
            case "paint":
                #expect(["red", "blue"].contains(arguments["colour"]?.string))
                #expect((1 ... 9).contains(arguments["coats"]?.integer ?? 0), "\(text)")
                #expect(arguments.object?.count == 2)
            case "wait": #expect(arguments == [:])
            default: Issue.record("\(call.text) is a call of no tool")
            }
        }
    }

    @Test(arguments: [
        ("v3", deepSeek), ("v3.1", deepSeek), ("kimi-k2", kimi), ("kimi-k2.5", kimi),
        ("glm-4.7-flash", glm), ("glm-5.1", glm),
        ("glm-4.5", glm), ("qwen3", qwen), ("qwen3-thinking-2507", qwen), ("qwen3-coder", qwen),
        ("minimax-m2", minimax),
    ])
    func `a call that begins is whole`(style: String, tokens: [String]) async throws {
        try await Self.withServer(style, tokens) { server, begin in
            // In a thought nothing is a call.
            let more =
                switch style {
                case "glm-4.7-flash", "glm-5.1", "kimi-k2.5":
                    #","chat_template_kwargs":{"thinking":false}"#
                case "minimax-m2", "qwen3-thinking-2507": #","thinking_token_budget":0"#
                default: ""
                }
            for seed in 1 ... 8 {
                let path = "/v1/chat/completions"
                let one = Self.request(
                    begin, seed: seed, more: more + #","parallel_tool_calls":false"#)
                let (status, answer) = try await server.post(path, one)
                #expect(status == 200, "\(answer.text)")
                let choice = answer["choices"]?.array?.first
                let calls = choice?["message"]?["tool_calls"]?.array ?? []
                #expect(calls.count == 1 && choice?["finish_reason"] == "tool_calls")
                #expect(choice?["message"]?["content"]?.string ?? "" == "", "\(answer.text)")
                try Self.check(calls)
                let (_, several) = try await server.post(
                    path, Self.request(begin, seed: seed, more: more))
                let all =
                    several["choices"]?.array?.first?["message"]?["tool_calls"]?.array ?? []
                #expect(!all.isEmpty, "\(several.text)")
                try Self.check(all)
            }
        }
    }

    @Test func `a schema that cannot be a grammar is refused where it must be kept to`()
        async throws
    {
        func tools(_ strict: String) -> String {
            #"[{"type":"function","function":{"name":"odd","parameters":{"type":"banana"}"#
                + strict + "}}]"
        }
        try await Self.withServer("v3.1", Self.deepSeek) { server, begin in
            let path = "/v1/chat/completions"
            let (refused, error) = try await server.post(
                path, Self.request(begin, seed: 1, tools: tools(#","strict":true"#)))
            #expect(refused == 400 && error.text.contains("tool odd"), "\(error.text)")
            for strict in ["", #","strict":false"#] {
                let (status, answer) = try await server.post(
                    path,
                    Self.request(
                        begin, seed: 1, tools: tools(strict),
                        more: #","parallel_tool_calls":false"#))
                #expect(status == 200, "\(answer.text)")
                let choice = answer["choices"]?.array?.first
                // A call that is cut is content.
                let message = choice?["message"]
                let calls = message?["tool_calls"]?.array ?? []
                for call in calls {
                    let text = call["function"]?["arguments"]?.string ?? ""
                    #expect(try JSONValue.parse(text).object != nil, "\(text)")
                }
                let written =
                    calls.first?["function"]?["name"]?.string ?? message?["content"]?.string
                #expect(written?.contains("odd") == true, "\(answer.text)")
            }
        }
    }

    /// GLM's form: members in their order, texts without quotes, references to definitions.
    @Test func `arguments of keys and values keep to the schema`() async throws {
        let tools = """
            [{"type":"function","function":{"name":"set","parameters":{"type":"object",
              "$defs":{"small":{"type":"integer","minimum":3,"maximum":5}},
              "properties":{"size":{"type":"integer","maximum":7},"list":{"type":"array",
              "maxItems":2,"items":{"$ref":"#/$defs/small"}},"word":{"enum":["a","b"]},
              "flag":{"type":"boolean"}},"required":["list","word"]}}}]
            """
        try await Self.withServer("glm-4.7-flash", Self.glm) { server, begin in
            for seed in 1 ... 8 {
                let (status, answer) = try await server.post(
                    "/v1/chat/completions",
                    Self.request(
                        begin, seed: seed, tools: tools,
                        more: #","parallel_tool_calls":false"#
                            + #","chat_template_kwargs":{"thinking":false}"#))
                #expect(status == 200, "\(answer.text)")
                let message = answer["choices"]?.array?.first?["message"]
                let call = try #require(
                    message?["tool_calls"]?.array?.first?["function"], "\(answer.text)")
                let arguments = try JSONValue.parse(call["arguments"]?.string ?? "")
                let list = try #require(arguments["list"]?.array, "\(arguments.text)")
                #expect(list.count <= 2)
                #expect(list.allSatisfy { (3 ... 5).contains($0.integer ?? 0) })
                #expect(["a", "b"].contains(arguments["word"]?.string), "\(arguments.text)")
                if let size = arguments["size"] { #expect(size.integer ?? 8 <= 7) }
                if let flag = arguments["flag"] { #expect(flag.bool != nil) }
            }
        }
    }

    @Test func `a tokenized chat without its answer has the effort of the request`() async throws {
        try await Self.withServer("glm-5.2", Self.glm) { server, _ in
            var texts: Set<String> = []
            for more in ["", #","reasoning_effort":"high""#, #","reasoning_effort":"none""#] {
                let body =
                    #"{"messages":[{"role":"user","content":"Go"}],"#
                    + #""add_generation_prompt":false\#(more)}"#
                let (status, answer) = try await server.post("/tokenize", body)
                #expect(status == 200, "\(answer.text)")
                texts.insert(answer["tokens"]?.text ?? "")
            }
            #expect(texts.count == 3)
        }
    }

    @Test(arguments: [#""clear_thinking":false"#, #""preserve_thinking":true"#])
    func `thoughts of earlier answers stay where a request asks for them`(
        keeps: String
    ) async throws {
        func count(_ server: TestServer, _ keywords: String) async throws -> (Int, JSONValue) {
            let body =
                #"{"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":"a","#
                + #""reasoning_content":"Hm, two words"},{"role":"user","content":"On"}],"#
                + #""chat_template_kwargs":{\#(keywords)}}"#
            return try await server.post("/tokenize", body)
        }
        try await Self.withServer("glm-5.1", Self.glm) { server, _ in
            let (_, plain) = try await count(server, "")
            let (status, kept) = try await count(server, keeps)
            #expect(status == 200, "\(kept.text)")
            let counts = [plain, kept].map { $0["count"]?.integer ?? 0 }
            #expect(counts[1] > counts[0] + 3, "\(counts)")
        }
        try await Self.withServer("qwen3", Self.qwen) { server, _ in
            let (status, error) = try await count(server, keeps)
            #expect(status == 400)
            #expect(error["error"]?["param"]?.string == "chat_template_kwargs")
        }
    }

    @Test func `a member whose schema refers beyond the definitions is any text`() throws {
        let tool = Tool([
            "function": [
                "name": "f",
                "parameters": [
                    "$defs": ["n": ["type": "integer"], "other": ["$ref": "#"]],
                    "properties": [
                        "a": ["type": "array", "items": ["$ref": "#"]],
                        "b": ["type": "array", "items": ["$ref": "#/$defs/n"]],
                        "c": ["type": "integer"], "d": ["type": "string"],
                        "e": ["type": "string", "enum": ["x"]],
                    ], "required": ["c"],
                ],
            ]
        ])
        let members = try #require(tool.members)
        #expect(members.map(\.name) == ["a", "b", "c", "d", "e"])
        #expect(members.map(\.isRequired) == [false, false, true, false, false])
        #expect(members.map { $0.json == nil } == [true, false, false, true, true])
        #expect(members.map(\.words) == [[], [], [], [], ["x"]])
        if case .jsonSchema(let text) = members[1].json {
            #expect(text.contains("$defs"))
        } else {
            Issue.record("b has no schema")
        }
    }

    /// Token 1 is `a`, 2 is `b`; 5 begins what must be `ab`.
    private func text(
        _ trigger: ConstraintTrigger, loud: Int, count: Int
    ) throws -> [Int] {
        let compiled = try CompiledGrammars().compiled(.text("ab"))
        let vocabulary = ConstraintVocabulary(
            bytes: (0 ..< 16).map { $0 == 1 ? [0x61] : $0 == 2 ? [0x62] : [] }, endTokens: [0])
        var request = GenerationRequest(
            id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: count)
        request.sampling = .greedy
        request.trigger = trigger
        var logits = [Float](repeating: 0, count: 16)
        logits[loud] = 5
        var active = try ActiveRequest(request, constraint: compiled) { vocabulary }
        while active.finish == nil { _ = try active.choose(from: logits.span, endTokens: [0]) }
        // A rank that goes on with the text chooses the same.
        for told in 0 ..< count {
            request.resumption = Resumption(
                hasBegun: true, tokens: Array(active.generated.prefix(told)))
            var other = try ActiveRequest(request, constraint: compiled) { vocabulary }
            while other.finish == nil { _ = try other.choose(from: logits.span, endTokens: [0]) }
            #expect(other.generated == active.generated)
        }
        return active.generated
    }

    @Test func `a constraint begins with its token, ends, and begins again, but in no thought`()
        throws
    {
        var trigger = ConstraintTrigger(token: 5, thoughtBegin: 7, thoughtEnd: 9, isInside: false)
        #expect(try text(trigger, loud: 5, count: 7) == [5, 1, 2, 5, 1, 2, 5])
        #expect(try text(trigger, loud: 4, count: 3) == [4, 4, 4])
        trigger.isInside = true
        #expect(try text(trigger, loud: 5, count: 4) == [5, 5, 5, 5])
        trigger.thoughtEnd = 5
        #expect(try text(trigger, loud: 5, count: 5) == [5, 5, 1, 2, 5])
        trigger.isInside = false
        trigger.thoughtBegin = 5
        #expect(try text(trigger, loud: 5, count: 6) == [5, 5, 1, 2, 5, 1])
    }

    @Test func `a constraint begins only after the byte that its trigger asks for`() throws {
        var trigger = ConstraintTrigger(token: 5, after: 0x61, isInside: false)
        // The prompt ends with `a`, the constrained text with `b`.
        #expect(try text(trigger, loud: 5, count: 5) == [5, 1, 2, 5, 5])
        trigger.after = 0x62
        #expect(try text(trigger, loud: 5, count: 3) == [5, 5, 5])
        trigger.token = 2
        // The token itself comes before the next one.
        #expect(try text(trigger, loud: 2, count: 5) == [2, 2, 1, 2, 2])
    }
}
