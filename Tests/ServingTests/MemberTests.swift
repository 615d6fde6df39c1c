import Encoding
import Foundation
import Grammar
import Language
import Testing

@testable import Serving

/// Every member of a request is acted on, refused by its name, or known to be without effect.
@Suite(.serialized) struct MemberTests {
    static let shapes = RequestShapes(limits: ServiceLimits(), vocabularySize: 2048)

    static func names(_ shape: Shape) -> [String] {
        if case .object(let fields) = shape { fields.map(\.name) } else { [] }
    }

    /// The members of OpenAI's `CreateChatCompletionRequest` (openai-openapi, 2025-11).
    static let openAIChat = """
        messages model metadata top_logprobs temperature top_p user safety_identifier \
        prompt_cache_key service_tier prompt_cache_retention modalities verbosity \
        reasoning_effort max_completion_tokens frequency_penalty presence_penalty \
        web_search_options response_format audio store stream stop logit_bias logprobs \
        max_tokens n prediction seed stream_options tools tool_choice parallel_tool_calls \
        function_call functions
        """
    /// The members of OpenAI's `CreateCompletionRequest`.
    static let openAICompletion = """
        model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n \
        presence_penalty seed stop stream stream_options suffix temperature top_p user
        """
    /// What vLLM's requests have beside OpenAI's (0.11 and 0.12).
    static let vLLM = """
        use_beam_search top_k min_p repetition_penalty length_penalty stop_token_ids \
        include_stop_str_in_output ignore_eos min_tokens skip_special_tokens \
        spaces_between_special_tokens truncate_prompt_tokens prompt_logprobs allowed_token_ids \
        bad_words add_special_tokens structured_outputs guided_json guided_regex guided_choice \
        guided_grammar structural_tag guided_decoding_backend guided_whitespace_pattern priority \
        request_id logits_processors return_tokens_as_token_ids return_token_ids cache_salt \
        kv_transfer_params vllm_xargs
        """
    static let vLLMChat = """
        best_of echo add_generation_prompt continue_final_message documents chat_template \
        chat_template_kwargs mm_processor_kwargs include_reasoning
        """

    static func words(_ text: String) -> [String] {
        text.split(separator: " ").map(String.init)
    }

    @Test func `every published member of a request is known`() {
        let chat = Set(Self.names(Self.shapes.chat))
        let completion = Set(Self.names(Self.shapes.completion))
        for name in Self.words(Self.openAIChat) + Self.words(Self.vLLM) + Self.words(Self.vLLMChat)
        { #expect(chat.contains(name), "\(name) of a chat") }
        let plain = Self.words(Self.openAICompletion) + Self.words(Self.vLLM) + ["prompt_embeds"]
        for name in plain { #expect(completion.contains(name), "\(name) of a completion") }
        #expect(chat.count == Self.names(Self.shapes.chat).count)
        #expect(completion.count == Self.names(Self.shapes.completion).count)
    }

    static func check(_ members: String, chat: Bool = true) throws -> JSONValue {
        let subject =
            chat ? #""messages":[{"role":"user","content":"a"}]"# : #""prompt":"a""#
        let body = try JSONValue.parse("{\(subject)\(members.isEmpty ? "" : ",")\(members)}")
        try (chat ? shapes.chat : shapes.completion).check(body, at: "")
        _ = try GenerationFields(body, defaults: .init())
        if chat { _ = try ChatFields(body) }
        return body
    }

    /// A member that is refused, with the name that the error must have.
    @Test(arguments: [
        (#""frobnicate":1"#, "frobnicate"), (#""Temperature":1"#, "Temperature"),
        (#""structured_outputs":{"regex":7}"#, "structured_outputs.regex"),
        (#""structured_outputs":{"regex":"a","choice":["a"]}"#, "structured_outputs.regex"),
        (#""structured_outputs":{"grammar":"root ::= a"}"#, "structured_outputs.grammar"),
        (#""structured_outputs":{"structural_tag":"{}"}"#, "structured_outputs.structural_tag"),
        (#""structured_outputs":{"josn":{}}"#, "structured_outputs.josn"),
        (
            #""structured_outputs":{"json":{},"choice":["a"]}"#, "structured_outputs.choice"
        ),
        (
            #""structured_outputs":{"json":{}},"response_format":{"type":"json_object"}"#,
            "structured_outputs.json"
        ),
        (#""guided_regex":["a"]"#, "guided_regex"), (#""guided_grammar":"a""#, "guided_grammar"),
        (#""response_format":{"type":"structural_tag"}"#, "response_format.type"),
        (#""response_format":{"type":"text","schema":{}}"#, "response_format.schema"),
        (
            #""response_format":{"type":"json_schema","json_schema":{"name":"x"}}"#,
            "response_format.json_schema.schema"
        ),
        (#""response_format":{"type":"json_schema"}"#, "response_format.json_schema"),
        (#""response_format":{}"#, "response_format.type"),
        (#""best_of":3"#, "best_of"), (#""store":true"#, "store"),
        (#""service_tier":"flex""#, "service_tier"), (#""priority":1"#, "priority"),
        (#""modalities":["text","audio"]"#, "modalities"), (#""audio":{"voice":"a"}"#, "audio"),
        (#""verbosity":"low""#, "verbosity"), (#""functions":[{"name":"f"}]"#, "functions"),
        (#""function_call":{"name":"f"}"#, "function_call"), (#""echo":true"#, "echo"),
        (#""web_search_options":{}"#, "web_search_options"),
        (#""use_beam_search":true"#, "use_beam_search"),
        (#""length_penalty":0.5"#, "length_penalty"),
        (#""include_stop_str_in_output":true"#, "include_stop_str_in_output"),
        (#""truncate_prompt_tokens":5"#, "truncate_prompt_tokens"),
        (#""prompt_logprobs":1"#, "prompt_logprobs"), (#""bad_words":["a"]"#, "bad_words"),
        (#""allowed_token_ids":[1]"#, "allowed_token_ids"),
        (#""return_token_ids":true"#, "return_token_ids"),
        (#""documents":[{"text":"a"}]"#, "documents"), (#""chat_template":"x""#, "chat_template"),
        (#""chat_template_kwargs":{"budget":1}"#, "chat_template_kwargs.budget"),
        (#""reasoning_effort":"hard""#, "reasoning_effort"),
        (
            #""reasoning_effort":"none","chat_template_kwargs":{"thinking":true}"#,
            "reasoning_effort"
        ),
        (
            #""chat_template_kwargs":{"thinking":true,"enable_thinking":false}"#,
            "chat_template_kwargs.enable_thinking"
        ),
        (
            #""chat_template_kwargs":{"preserve_thinking":true,"clear_thinking":true}"#,
            "chat_template_kwargs.clear_thinking"
        ),
        (#""stream_options":{"include_usage":true}"#, "stream_options"),
        (#""stream":true,"stream_options":{"usage":true}"#, "stream_options.usage"),
        (
            #""stream":true,"stream_options":{"include_obfuscation":true}"#,
            "stream_options.include_obfuscation"
        ),
        (#""max_tokens":5,"max_completion_tokens":6"#, "max_tokens"),
        (#""add_generation_prompt":false"#, "add_generation_prompt"),
        (#""continue_final_message":true"#, "messages[0]"),
        (#""tool_choice":"any""#, "tool_choice"),
        (#""tool_choice":{"type":"function","function":{"name":"f"}}"#, "tool_choice"),
        (#""tools":[{"type":"custom","custom":{"name":"f"}}]"#, "tools[0].custom"),
        (#""tools":[{"type":"function","function":{}}]"#, "tools[0].function.name"),
        (#""thinking":{"type":"enabled"}"#, "thinking"), (#""grammar":"x""#, "grammar"),
        (#""top_logprobs":2"#, "top_logprobs"), (#""temperature":9"#, "temperature"),
    ])
    func `what cannot be done is refused by its name`(members: String, name: String) {
        let error = #expect(throws: APIError.self) { try Self.check(members) }
        #expect(error?.status == 400 && error?.parameter == name, "\(error.debugDescription)")
        #expect(error?.message.contains(name) == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        (#""suffix":"end""#, "suffix"), (#""prompt_embeds":"AA==""#, "prompt_embeds"),
        (#""tools":[]"#, "tools"), (#""messages":[]"#, "messages"),
        (#""logprobs":true"#, "logprobs"),
    ])
    func `what a completion does not have is refused by its name`(members: String, name: String) {
        let error = #expect(throws: APIError.self) { try Self.check(members, chat: false) }
        #expect(error?.parameter == name)
    }

    /// A message that is refused, with the name that the error must have.
    @Test(arguments: [
        (#"{"role":"user","content":"a","mood":"x"}"#, "messages[0].mood"),
        (
            #"{"role":"user","content":[{"type":"image_url","image_url":{}}]}"#,
            "messages[0].content[0].type"
        ),
        (#"{"role":"user","content":[{"type":"text"}]}"#, "messages[0].content[0].text"),
        (#"{"role":"assistant","audio":{"id":"x"}}"#, "messages[0].audio"),
        (#"{"role":"function","content":"a"}"#, "messages[0].role"),
        (#"{"role":"user","content":7}"#, "messages[0].content"),
    ])
    func `what a message cannot hold is refused by its name`(message: String, name: String) throws {
        let body = try JSONValue.parse(#"{"messages":[\#(message)]}"#)
        let error = #expect(throws: APIError.self) { try Self.shapes.chat.check(body, at: "") }
        #expect(error?.parameter == name, "\(error.debugDescription)")
    }

    @Test(arguments: [
        "", #""user":"u","metadata":{"a":"b"},"safety_identifier":"s","prompt_cache_key":"k""#,
        #""store":false,"service_tier":"auto","priority":0,"prediction":{"type":"content"}"#,
        #""modalities":["text"],"audio":null,"verbosity":"medium","functions":null"#,
        #""use_beam_search":false,"length_penalty":1.0,"bad_words":[],"guided_regex":null"#,
        #""structured_outputs":{"json":null,"regex":null}"#, #""structured_outputs":{}"#,
        #""structured_outputs":{"json_object":true},"response_format":{"type":"text"}"#,
        #""response_format":{"type":"json_object","schema":{"type":"object"}}"#,
        #""response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{},"#
            + #""strict":true}}"#,
        #""reasoning_effort":"high","chat_template_kwargs":{"thinking":true}"#,
        #""tools":[{"type":"function","function":{"name":"f","strict":true,"x-own":1}}]"#,
        #""max_tokens":5,"max_completion_tokens":5"#, #""add_generation_prompt":true"#,
        #""stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}"#,
        #""tool_choice":"auto""#, #""tool_choice":"none""#, #""n":2,"best_of":2"#,
        #""stop":null,"temperature":null,"logit_bias":null,"tools":null,"tool_choice":null"#,
    ])
    func `what asks for nothing, or for what is there, is taken`(members: String) throws {
        _ = try Self.check(members)
    }

    @Test func `a schema beside json_object is the schema`() throws {
        let body = try Self.check(
            #""response_format":{"type":"json_object","schema":{"type":"object","x":1}}"#)
        let constraint = try #require(try PlacedConstraint.read(body))
        #expect(constraint.constraint == .jsonSchema(#"{"type":"object","x":1}"#))
        #expect(constraint.place == "response_format.schema")
    }

    static let chatOfTools =
        #""tools":[{"type":"function","function":{"name":"f"}},"#
        + #"{"type":"function","function":{"name":"g"}}]"#

    @Test func `allowed tools are the tools there are`() throws {
        let one = #"{"type":"function","function":{"name":"g"}}"#
        let body = try Self.check(
            #"\#(Self.chatOfTools),"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"#
                + #""required","tools":[\#(one)]}}"#)
        let chat = try ChatFields(body)
        #expect(chat.tools.map(\.name) == ["g"] && chat.toolChoice == .required)
    }

    /// The last messages of a chat, more members, and what becomes of it: the refused member, or
    /// nil where the answer continues the message.
    @Test(arguments: [
        (#"{"role":"assistant","content":"x","prefix":true}"#, "", nil),
        (#"{"role":"assistant","content":"x"}"#, #","continue_final_message":true"#, nil),
        (
            #"{"role":"assistant","content":"x"}"#,
            #","continue_final_message":true,"add_generation_prompt":false"#, nil
        ),
        (
            #"{"role":"assistant","content":"x"}"#,
            #","continue_final_message":true,"add_generation_prompt":true"#,
            "add_generation_prompt"
        ),
        (
            #"{"role":"assistant","content":"x","prefix":true}"#,
            #","continue_final_message":false"#, "continue_final_message"
        ),
        (#"{"role":"user","content":"x","prefix":true}"#, "", "messages[1]"),
        (#"{"role":"assistant","content":null,"prefix":true}"#, "", "messages[1]"),
        (
            #"{"role":"assistant","content":"x","prefix":true},{"role":"user","content":"y"}"#, "",
            "messages[1].prefix"
        ),
        (
            #"{"role":"assistant","content":"x","prefix":true}"#,
            #",\#(Self.chatOfTools),"tool_choice":"required""#, "tool_choice"
        ),
    ])
    func `a message is continued, or the request is refused`(
        messages: String, more: String, refused: String?
    ) throws {
        let body = try JSONValue.parse(
            #"{"messages":[{"role":"user","content":"a"},\#(messages)]\#(more)}"#)
        try Self.shapes.chat.check(body, at: "")
        if let refused {
            let error = #expect(throws: APIError.self) { try ChatFields(body) }
            #expect(error?.parameter == refused)
        } else {
            #expect(try ChatFields(body).messages.last?.isPrefix == true)
        }
    }
}
