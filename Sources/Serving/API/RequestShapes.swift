import Encoding

/// What each endpoint takes, for one model and one set of limits.
struct RequestShapes: Sendable {
    let limits: ServiceLimits
    let vocabularySize: Int

    private var token: Shape { .integer(0 ... vocabularySize - 1) }
    private var tokens: Shape { .array(token, 1 ... limits.promptTokens) }
    var text: Shape { .string(0 ... limits.bodyBytes) }

    /// Members of a JSON Schema, whose keywords the compiler of schemas checks.
    static let schema = Shape.map(.any, limit: 10_000)

    /// Fields that every generating endpoint takes.
    var generation: [Shape.Field] { sampling + length + output + Self.withoutEffect + Self.refused }

    private var sampling: [Shape.Field] {
        [
            .init("model", .string(0 ... 512).orNull, "The id that GET /v1/models lists."),
            .init("temperature", .number(0 ... 2).orNull),
            .init("top_p", .number(0 ... 1).orNull),
            .init("top_k", .integer(-1 ... .max).orNull, "0 or -1 keeps all."),
            .init("min_p", .number(0 ... 1).orNull),
            .init("presence_penalty", .number(-2 ... 2).orNull),
            .init("frequency_penalty", .number(-2 ... 2).orNull),
            .init("repetition_penalty", .number(0.01 ... 10).orNull),
            .init("seed", .integer(.min ... .max).orNull),
            .init("logit_bias", .map(.number(-100 ... 100), limit: limits.logitBiases).orNull),
            .init("n", .integer(1 ... limits.choices).orNull, "Texts per prompt."),
            .init("best_of", .integer(1 ... limits.choices).orNull, "Must equal n."),
            .init("cache_salt", .string(1 ... 256).orNull, "Keeps cached prefixes apart."),
        ]
    }

    private var length: [Shape.Field] {
        let stopString = Shape.string(1 ... limits.stopLength)
        return [
            .init("max_tokens", .integer(0 ... .max).orNull),
            .init("max_completion_tokens", .integer(0 ... .max).orNull, "The same limit."),
            .init(
                "min_tokens", .integer(0 ... .max).orNull,
                "Neither an end token nor a stop string ends the text before this many tokens."),
            .init(
                "stop",
                .either([stopString, .array(stopString, 0 ... limits.stopStrings), .null])),
            .init("stop_token_ids", .array(token, 0 ... limits.stopStrings).orNull),
            .init("ignore_eos", .boolean.orNull, "End tokens do not end the text."),
            .init("skip_special_tokens", .boolean.orNull),
        ]
    }

    private var output: [Shape.Field] {
        let choices = Shape.array(.string(1 ... 4096), 1 ... 256).orNull
        let schema = Shape.either([Self.schema, text, .null])
        return [
            .init("stream", .boolean.orNull),
            .init(
                "stream_options",
                Shape.object([
                    .init("include_usage", .boolean.orNull),
                    .init("continuous_usage_stats", .boolean.orNull),
                    .init("include_obfuscation", .only([false, .null], "chunks are not padded")),
                ]).orNull, "Only of streams."),
            .init("response_format", responseFormat.orNull, "What the text must be."),
            .init(
                "structured_outputs",
                Shape.object(
                    [
                        .init("json", schema), .init("choice", choices),
                        .init("regex", text.orNull, "Matches the whole text."),
                        .init("json_object", .boolean.orNull),
                    ] + Self.refusedConstraints
                ).orNull,
                "The same, as vLLM writes it. One member of all these says what the text must be."),
            .init("guided_json", schema, "structured_outputs.json by its older name."),
            .init("guided_choice", choices, "structured_outputs.choice by its older name."),
            .init("guided_regex", text.orNull, "structured_outputs.regex by its older name."),
        ]
    }

    private var responseFormat: Shape {
        .tagged(
            "type",
            [
                ("text", []),
                ("json_object", [.init("schema", Self.schema.orNull)]),
                (
                    "json_schema",
                    [
                        .init(
                            "json_schema",
                            .object([
                                .init("name", .string(0 ... 256)),
                                .init("description", text.orNull, "Without effect."),
                                .init("schema", Self.schema, required: true),
                                .init("strict", .boolean.orNull, "Without effect: always strict."),
                            ]), required: true)
                    ]
                ),
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
                .init("add_special_tokens", .boolean.orNull),
                .init(
                    "suffix", .only([.null, ""], "the model cannot fill in what precedes a text")),
                .init("prompt_embeds", .only([.null], "prompts are text or tokens")),
            ] + generation)
    }

    /// `POST /v1/batches`.
    var batch: Shape {
        .object([
            .init("input_file_id", .string(1 ... 128), required: true, "A file of requests."),
            .init("endpoint", .enumeration(BatchEndpoint.allCases.map(\.rawValue)), required: true),
            .init("completion_window", .string(2 ... 8), required: true, "Hours, as 24h."),
            .init("metadata", .map(.string(0 ... 512), limit: 16, keyLength: 64).orNull),
            .init("output_expires_after", .only([.null], "files stay until they are deleted")),
        ])
    }

    /// `POST /tokenize`.
    var tokenize: Shape {
        .object(
            [
                .init("prompt", text),
                .init("messages", .array(message, 1 ... limits.messages)),
                .init("add_special_tokens", .boolean.orNull),
                .init("return_token_strs", .boolean.orNull),
                .init("model", .string(0 ... 512).orNull),
            ] + template)
    }

    /// `POST /detokenize`.
    var detokenize: Shape {
        .object([
            .init("model", .string(0 ... 512).orNull),
            .init("tokens", .array(token, 0 ... limits.promptTokens), required: true),
        ])
    }
}
