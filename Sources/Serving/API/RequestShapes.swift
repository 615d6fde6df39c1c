/// What each endpoint takes, for one model and one set of limits.
struct RequestShapes: Sendable {
    let limits: ServiceLimits
    let vocabularySize: Int

    private var token: Shape { .integer(0 ... vocabularySize - 1) }
    private var tokens: Shape { .array(token, 1 ... limits.promptTokens) }
    private var text: Shape { .string(0 ... limits.bodyBytes) }

    /// Fields that every generating endpoint takes.
    private var generation: [Shape.Field] {
        let stopString = Shape.string(1 ... limits.stopLength)
        return [
            .init("model", .string(0 ... 512).orNull, "The id that GET /v1/models lists."),
            .init("max_tokens", .integer(0 ... .max).orNull),
            .init("max_completion_tokens", .integer(0 ... .max).orNull),
            .init("min_tokens", .integer(0 ... .max).orNull, "No end before this many tokens."),
            .init("temperature", .number(0 ... 2).orNull),
            .init("top_p", .number(0 ... 1).orNull),
            .init("top_k", .integer(-1 ... .max).orNull, "0 or -1 keeps all."),
            .init("min_p", .number(0 ... 1).orNull),
            .init("presence_penalty", .number(-2 ... 2).orNull),
            .init("frequency_penalty", .number(-2 ... 2).orNull),
            .init("repetition_penalty", .number(0.01 ... 10).orNull),
            .init("seed", .integer(.min ... .max).orNull),
            .init("n", .integer(1 ... limits.choices).orNull, "Texts per prompt."),
            .init("best_of", .integer(1 ... limits.choices).orNull, "Must equal n."),
            .init(
                "stop",
                .either([stopString, .array(stopString, 0 ... limits.stopStrings), .null])),
            .init("stop_token_ids", .array(token, 0 ... limits.stopStrings).orNull),
            .init("ignore_eos", .boolean.orNull, "End tokens do not end the text."),
            .init("skip_special_tokens", .boolean.orNull),
            .init("logit_bias", .map(.number(-100 ... 100), limit: limits.logitBiases).orNull),
            .init("stream", .boolean.orNull),
            .init(
                "stream_options",
                Shape.object([
                    .init("include_usage", .boolean.orNull),
                    .init("continuous_usage_stats", .boolean.orNull),
                ]).orNull),
            .init("user", text.orNull),
            .init("cache_salt", .string(1 ... 256).orNull, "Keeps cached prefixes apart."),
            .init("response_format", responseFormat.orNull),
            .init(
                "structured_outputs",
                Shape.object([
                    .init("json", .either([.map(.any, limit: 10_000), text, .null])),
                    .init("choice", .array(.string(1 ... 4096), 1 ... 256).orNull),
                ]).orNull),
        ]
    }

    private var responseFormat: Shape {
        .either([
            .object([.init("type", .enumeration(["text", "json_object"]), required: true)]),
            .object([
                .init("type", .enumeration(["json_schema"]), required: true),
                .init(
                    "json_schema",
                    .object([
                        .init("name", .string(0 ... 256)),
                        .init("schema", .map(.any, limit: 10_000), required: true),
                        .init("strict", .boolean.orNull),
                    ]), required: true),
            ]),
        ])
    }

    /// `POST /v1/completions`.
    var completion: Shape {
        .object(
            [
                .init(
                    "prompt",
                    .either([
                        text, .array(text, 1 ... limits.prompts), tokens,
                        .array(tokens, 1 ... limits.prompts),
                    ]), required: true),
                .init("echo", .boolean.orNull),
                .init("logprobs", .integer(0 ... limits.topLogprobs).orNull),
                .init("suffix", .null),
                .init("add_special_tokens", .boolean.orNull),
            ] + generation)
    }

    /// `POST /v1/chat/completions`.
    var chat: Shape {
        let function = Shape.object([
            .init("name", .string(1 ... 64), required: true),
            .init("description", text.orNull),
            .init("parameters", Shape.map(.any, limit: 10_000).orNull),
            .init("strict", .boolean.orNull),
        ])
        let tool = Shape.object([
            .init("type", .enumeration(["function"]), required: true),
            .init("function", function, required: true),
        ])
        let named = Shape.object([
            .init("type", .enumeration(["function"]), required: true),
            .init(
                "function", .object([.init("name", .string(1 ... 64), required: true)]),
                required: true),
        ])
        return .object(
            [
                .init("messages", .array(message, 1 ... limits.messages), required: true),
                .init("logprobs", .boolean.orNull),
                .init("top_logprobs", .integer(0 ... limits.topLogprobs).orNull),
                .init("tools", .array(tool, 0 ... limits.tools).orNull),
                .init(
                    "tool_choice",
                    .either([.enumeration(["none", "auto", "required"]), named, .null])),
                .init("parallel_tool_calls", .boolean.orNull),
                .init("reasoning_effort", .string(0 ... 64).orNull),
                .init("chat_template_kwargs", Shape.map(.any, limit: 64).orNull),
            ] + generation)
    }

    private var message: Shape {
        let part = Shape.object([
            .init("type", .enumeration(["text"]), required: true),
            .init("text", text, required: true),
        ])
        let content = Shape.either([text, .array(part, 0 ... 1024), .null])
        let call = Shape.object([
            .init("id", .string(0 ... 256).orNull),
            .init("type", .enumeration(["function"])),
            .init(
                "function",
                .object([
                    .init("name", .string(1 ... 64), required: true),
                    .init("arguments", text, required: true),
                ]), required: true),
        ])
        return .object([
            .init(
                "role", .enumeration(["system", "developer", "user", "assistant", "tool"]),
                required: true),
            .init("content", content),
            .init("name", .string(0 ... 256).orNull),
            .init("tool_calls", .array(call, 0 ... 128).orNull),
            .init("tool_call_id", .string(0 ... 256).orNull),
            .init("reasoning_content", text.orNull),
            .init("reasoning", text.orNull),
        ])
    }

    /// `POST /tokenize`.
    var tokenize: Shape {
        .object([
            .init("model", .string(0 ... 512).orNull),
            .init("prompt", text),
            .init("messages", .array(message, 1 ... limits.messages)),
            .init("add_special_tokens", .boolean.orNull),
            .init("return_token_strs", .boolean.orNull),
        ])
    }

    /// `POST /detokenize`.
    var detokenize: Shape {
        .object([
            .init("model", .string(0 ... 512).orNull),
            .init("tokens", .array(token, 0 ... limits.promptTokens), required: true),
        ])
    }
}
