import Encoding
import Grammar
import Testing

@testable import Serving

/// Constraints as requests ask for them.
@Suite(.serialized) struct ConstraintAPITests {
    private static let story = #""messages":[{"role":"user","content":"Tell me a story."}]"#

    private static func tool(_ name: String, _ parameters: String?) -> String {
        let schema = parameters.map { #","parameters":\#($0)"# } ?? ""
        return #"{"type":"function","function":{"name":"\#(name)"\#(schema)}}"#
    }

    private static func call(of answer: JSONValue) throws -> (name: String, arguments: JSONValue) {
        let calls = answer["choices"]?.array?.first?["message"]?["tool_calls"]?.array
        let function = try #require(calls?.first?["function"], "\(answer.text)")
        let arguments = try #require(function["arguments"]?.string, "\(answer.text)")
        return (function["name"]?.string ?? "", try JSONValue.parse(arguments))
    }

    @Test func `a forced call of several tools keeps the root of each schema`() async throws {
        let recursive =
            ##"{"type":"object","properties":{"v":{"type":"integer","maximum":3},"next":{"##
            + ##""anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["v","next"]}"##
        let defined =
            ##"{"$defs":{"U":{"const":7}},"type":"object","properties":{"u":{"##
            + ##""$ref":"#/$defs/U"}},"required":["u"]}"##
        let tools = "[\(Self.tool("list", recursive)),\(Self.tool("use", defined))]"
        try await APITests.withServer(ranks: 1) { server in
            for seed in 1 ... 6 {
                let (status, answer) = try await server.post(
                    "/v1/chat/completions",
                    #"{\#(Self.story),"max_tokens":90,"temperature":1.5,"seed":\#(seed),"#
                        + #""tools":\#(tools),"tool_choice":"required"}"#)
                #expect(status == 200, "\(answer.text)")
                let call = try Self.call(of: answer)
                if call.name == "use" {
                    #expect(call.arguments["u"]?.integer == 7)
                    continue
                }
                var node = call.arguments
                while !node.isNull {
                    #expect(node["v"]?.integer != nil && node["name"] == nil, "\(answer.text)")
                    node = node["next"] ?? .null
                }
            }
        }
    }

    @Test(arguments: [nil, #"{"type":"object","properties":{}}"#, "{}"])
    func `a forced call of a tool without parameters has an empty object`(
        parameters: String?
    ) async throws {
        try await APITests.withServer(ranks: 1) { server in
            let (status, answer) = try await server.post(
                "/v1/chat/completions",
                #"{\#(Self.story),"max_tokens":30,"tool_choice":"required","#
                    + #""tools":[\#(Self.tool("now", parameters))]}"#)
            #expect(status == 200)
            #expect(try Self.call(of: answer).arguments.object?.isEmpty == true)
        }
    }

    /// A call's arguments are an object, whatever else the schema allows.
    @Test(arguments: [
        #"{"anyOf":[{"type":"array"},{"type":"object","properties":{"a":{"const":1}}}]}"#,
        #"{"type":["object","null"],"properties":{"a":{"const":1}}}"#,
        ##"{"type":["object","null"],"properties":{"v":{"type":"integer","enum":[1]},"##
            + ##""next":{"$ref":"#"}},"required":["v","next"],"additionalProperties":false}"##,
        #"{"items":{"type":"boolean"}}"#, #"{"properties":{"a":{"const":1}},"required":["a"]}"#,
        ##"{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"a":{"anyOf":[{"$ref":"#/$defs/n"},"##
            + ##"{"type":"null"}]}}}}}"##,
    ])
    func `a forced call has an object, whatever else its schema allows`(
        parameters: String
    ) async throws {
        try await APITests.withServer(ranks: 1) { server in
            for names in [["f"], ["f", "g"]] {
                let tools = names.map { Self.tool($0, parameters) }.joined(separator: ",")
                let (status, answer) = try await server.post(
                    "/v1/chat/completions",
                    #"{\#(Self.story),"max_tokens":90,"tool_choice":"required","temperature":0,"#
                        + #""tools":[\#(tools)]}"#)
                #expect(status == 200, "\(answer.text)")
                let call = try Self.call(of: answer)
                #expect(call.arguments.object != nil, "\(answer.text)")
            }
        }
    }

    @Test(arguments: ["array", "string", "null"], ["required", "auto", "none"])
    func `parameters that no object satisfies are refused`(
        type: String, choice: String
    ) async throws {
        try await APITests.withServer(ranks: 1) { server in
            let (status, answer) = try await server.post(
                "/v1/chat/completions",
                #"{\#(Self.story),"tool_choice":"\#(choice)","#
                    + #""tools":[\#(Self.tool("f", #"{"type":"\#(type)"}"#))]}"#)
            #expect(status == 400)
            let message = answer["error"]?["message"]?.string ?? ""
            #expect(message.hasPrefix(#"the parameters of tool f have the type "\#(type)""#))
            #expect(answer["error"]?["param"] == "tools")
        }
    }

    /// Members that a client of another API sent, not those of Chat Completions.
    @Test(arguments: [
        (
            "responses",
            #""input":"a","text":{"format":{"type":"json_schema","name":"x","schema":"#,
            #""max_output_tokens":5"#, "text.format.schema", "max_output_tokens"
        ),
        (
            "messages",
            #""model":"stories-fp8","messages":[{"role":"user","content":"a"}],"#
                + #""output_config":{"format":{"type":"json_schema","schema":"#,
            #""max_tokens":5"#, "output_config.format.schema", "max_tokens"
        ),
    ])
    func `an error about a constraint names the member of its API`(
        path: String, request: String, limit: String, schema: String, tokens: String
    ) async throws {
        try await APITests.withServer(ranks: 1) { server in
            for stream in ["false", "true"] {
                for (text, member) in [
                    (#"{"contains":1}"#, schema), (#"{"type":"string","minLength":50}"#, tokens),
                ] {
                    let (status, answer) = try await server.post(
                        "/v1/\(path)", "{\(request)\(text)}},\(limit),\"stream\":\(stream)}")
                    #expect(status == 400, "\(answer.text)")
                    let message = answer["error"]?["message"]?.string ?? ""
                    #expect(message.hasPrefix(member), "\(message)")
                    #expect(!message.contains("response_format"), "\(message)")
                }
            }
        }
    }

    @Test func `a fault in a tool's schema names the tool`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let (status, answer) = try await server.post(
                "/v1/chat/completions",
                #"{\#(Self.story),"max_tokens":30,"tool_choice":"required","#
                    + #""tools":[\#(Self.tool("f", #"{"type":"banana"}"#))]}"#)
            #expect(status == 400)
            let message = answer["error"]?["message"]?.string ?? ""
            #expect(message.contains("tool f") && message.contains("banana"), "\(message)")
            #expect(answer["error"]?["param"]?.string?.contains("tools") == true)
        }
    }

    @Test func `a constraint of many texts is compiled once, and its limits are named`()
        async throws
    {
        try await APITests.withServer(ranks: 2) { server in
            let prompts = (0 ..< 20).map { "\"\($0)\"" }.joined(separator: ",")
            let (status, _) = try await server.post(
                "/v1/completions",
                #"{"prompt":[\#(prompts)],"max_tokens":8,"structured_outputs":{"json":{"#
                    + #""type":"integer","minimum":7,"maximum":9}}}"#)
            #expect(status == 200)
            #expect(server.grammars.compilationCount == 1)
            let many = String(repeating: "x", count: 600_000)
            let (refused, answer) = try await server.post(
                "/v1/completions",
                #"{"prompt":"a","structured_outputs":{"json":{"const":"\#(many)"}}}"#)
            #expect(refused == 400)
            #expect(answer["error"]?["message"]?.string?.contains("524288") == true)
        }
    }

    @Test func `a regular expression is what a whole text matches`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            for seed in 1 ... 4 {
                let (status, answer) = try await server.post(
                    "/v1/completions",
                    #"{"prompt":"a","max_tokens":60,"temperature":1.5,"seed":\#(seed),"#
                        + #""structured_outputs":{"regex":"[A-C]{2,4}-(é|\\d\\d)"}}"#)
                #expect(status == 200)
                let text = answer["choices"]?.array?.first?["text"]?.string ?? ""
                #expect(try /[A-C]{2,4}-(é|[0-9]{2})/.wholeMatch(in: text) != nil, "\(text)")
            }
            for member in [#""structured_outputs":{"regex":"(a"}"#, #""guided_regex":"(a""#] {
                let (status, answer) = try await server.post(
                    "/v1/completions", #"{"prompt":"a",\#(member)}"#)
                let name = answer["error"]?["param"]?.string ?? ""
                #expect(status == 400 && name.hasSuffix("regex"), "\(answer.text)")
            }
        }
    }

    @Test func `beside tools a response format allows a call or the response`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            for seed in 1 ... 4 {
                let (status, answer) = try await server.post(
                    "/v1/chat/completions",
                    #"{\#(Self.story),"max_tokens":60,"temperature":1.5,"seed":\#(seed),"#
                        + #""tools":[\#(Self.tool("now", nil))],"response_format":{"#
                        + #""type":"json_schema","json_schema":{"name":"x","schema":{"#
                        + #""type":"object","properties":{"a":{"type":"integer"}},"#
                        + #""required":["a"],"additionalProperties":false}}}}"#)
                #expect(status == 200)
                let choice = answer["choices"]?.array?.first
                if choice?["finish_reason"]?.string == "tool_calls" {
                    #expect(try Self.call(of: answer).name == "now")
                } else {
                    let text = choice?["message"]?["content"]?.string ?? ""
                    #expect(try JSONValue.parse(text)["a"]?.integer != nil, "\(answer.text)")
                }
            }
        }
    }
}
