import Encoding

/// What OpenAI's Responses API takes.
extension RequestShapes {
    /// `POST /v1/responses`.
    var responses: Shape {
        .object(
            [
                .init("model", .string(0 ... 512).orNull, "The id that GET /v1/models lists."),
                .init(
                    "input", .either([text, .array(inputItem, 0 ... limits.messages)]),
                    required: true),
                .init("instructions", text.orNull, "A system prompt of this request alone."),
                .init(
                    "previous_response_id", .string(1 ... 128).orNull,
                    "The input continues the conversation of that response."),
                .init("max_output_tokens", .integer(1 ... .max).orNull),
                .init("temperature", .number(0 ... 2).orNull),
                .init("top_p", .number(0 ... 1).orNull),
                .init("stream", .boolean.orNull),
                .init(
                    "stream_options",
                    Shape.object([
                        .init(
                            "include_obfuscation", .only([false, .null], "events are not padded"))
                    ]).orNull),
                .init("store", .boolean.orNull, "true: GET and previous_response_id know it."),
                .init(
                    "background", .boolean.orNull,
                    "The answer comes at once, without its output, which GET shows when it is "
                        + "there. Not with stream, and not without store."),
                .init("tools", .array(responseTool, 0 ... limits.tools).orNull),
                .init(
                    "tool_choice",
                    .either([
                        .enumeration(["none", "auto", "required"]), responseToolChoice, .null,
                    ])),
                .init("parallel_tool_calls", .boolean.orNull, "false: at most one call."),
                .init("text", textOptions.orNull, "What the text must be."),
                .init("reasoning", reasoningOptions.orNull),
                .init(
                    "seed", .integer(.min ... .max).orNull,
                    "Not of OpenAI's API: one seed, one text."),
                .init("cache_salt", .string(1 ... 256).orNull, "Keeps cached prefixes apart."),
                .init(
                    "metadata", .map(.string(0 ... 512), limit: 16, keyLength: 64).orNull,
                    "Given back."),
            ] + Self.withoutEffectInResponses + Self.refusedOfResponses)
    }

    private static let withoutEffectInResponses = [
        ignored("user", "nothing is kept of who asks"),
        ignored("safety_identifier", "nothing is kept of who asks"),
        ignored("prompt_cache_key", "prefixes are found by their tokens; cache_salt keeps apart"),
        ignored("prompt_cache_options", "prefixes are always cached"),
        ignored("max_tool_calls", "the server calls no tools itself"),
        Shape.Field(
            "include", .array(.enumeration(["reasoning.encrypted_content"]), 0 ... 16).orNull,
            "Without effect: thoughts are not sealed."),
    ]

    private static let refusedOfResponses = [
        refused("conversation", "previous_response_id continues a conversation"),
        refused("prompt", "prompts are not stored"),
        refused("context_management", "the conversation is read as it was sent", unless: [[]]),
        refused("access_programs", "there are none", unless: [[]]),
        refused("background_options", "a response in the background has none"),
        refused("image", "the model writes text"),
        refused("moderation", "nothing is moderated"),
        refused("truncation", "a prompt is read whole", unless: ["disabled"]),
        refused("service_tier", "there is one tier", unless: ["auto", "default"]),
        refused(
            "prompt_cache_retention", "prefixes stay as long as there is room",
            unless: ["in_memory", "in-memory"]),
        refused("top_logprobs", "POST /v1/chat/completions gives them", unless: [0]),
    ]

    /// A turn of the conversation, a call, its result, or a thought.
    ///
    /// Clients send the items of an answer back as they got them.
    private var inputItem: Shape {
        let (id, status) = (
            Shape.Field("id", .string(0 ... 256).orNull, "Without effect."),
            Self.ignored("status", "items are taken as they are")
        )
        let words = Shape.either([text, .array(inputPart, 0 ... 1024)])
        let message: [Shape.Field] = [
            .init(
                "role", .enumeration(["system", "developer", "user", "assistant"]), required: true),
            .init("content", words, required: true), id, status,
            Self.ignored("phase", "no template writes it"),
        ]
        return .tagged(
            "type",
            [
                ("message", message),
                (
                    "function_call",
                    [
                        .init("call_id", .string(1 ... 256), required: true),
                        .init("name", .string(1 ... 128), required: true),
                        .init("arguments", text, required: true), id, status,
                        Self.ignored("namespace", "no template writes it"),
                        Self.ignored("caller", "the model calls tools itself"),
                        Self.ignored("async", "calls are the caller's to perform"),
                    ]
                ),
                (
                    "function_call_output",
                    [
                        .init("call_id", .string(1 ... 256), required: true),
                        .init("output", words, required: true), id, status,
                        Self.ignored("name", "no template writes it"),
                        Self.ignored("namespace", "no template writes it"),
                        Self.ignored("caller", "the model calls tools itself"),
                    ]
                ),
                (
                    "reasoning",
                    [
                        Self.ignored("summary", "content has the thought"),
                        .init(
                            "content", .either([.array(thoughtPart, 0 ... 1024), .null]),
                            "Some templates repeat a thought until the user's next turn."),
                        Self.ignored("encrypted_content", "thoughts are not sealed"), id, status,
                    ]
                ),
            ], otherwise: message)
    }

    private var thoughtPart: Shape {
        .object([
            .init("type", .enumeration(["reasoning_text"]), required: true),
            .init("text", text, required: true),
        ])
    }

    private var inputPart: Shape {
        let words: [Shape.Field] = [
            .init("text", text, required: true),
            Self.ignored("annotations", "no template writes them"),
            Self.ignored("logprobs", "no template writes them"),
        ]
        return .tagged(
            "type",
            [
                ("input_text", words), ("output_text", words), ("text", words),
                ("refusal", [.init("refusal", text, required: true)]),
            ])
    }

    private var responseTool: Shape {
        .tagged(
            "type",
            [
                (
                    "function",
                    [
                        .init("name", .string(1 ... 128), required: true),
                        .init("description", text.orNull),
                        .init("parameters", Self.schema.orNull),
                        .init(
                            "strict", .boolean.orNull,
                            Self.strictNote),
                        .init(
                            "defer_loading",
                            .only([false, .null], "the model reads all tools")),
                        Self.ignored("allowed_callers", "the model calls tools itself"),
                        Self.ignored("async", "calls are the caller's to perform"),
                        Self.ignored("output_schema", "no template writes it"),
                    ]
                )
            ])
    }

    private var responseToolChoice: Shape {
        let named = Shape.object([
            .init("type", .enumeration(["function"]), required: true),
            .init("name", .string(1 ... 128), required: true),
        ])
        return .tagged(
            "type",
            [
                ("function", [.init("name", .string(1 ... 128), required: true)]),
                (
                    "allowed_tools",
                    [
                        .init("mode", .enumeration(["auto", "required"]), required: true),
                        .init("tools", .array(named, 1 ... limits.tools), required: true),
                    ]
                ),
            ])
    }

    private var textOptions: Shape {
        .object([
            .init(
                "format",
                Shape.tagged(
                    "type",
                    [
                        ("text", []), ("json_object", []),
                        (
                            "json_schema",
                            [
                                .init("name", .string(0 ... 256)),
                                .init("description", text.orNull, "Without effect."),
                                .init("schema", Self.schema, required: true),
                                .init("strict", .boolean.orNull, "Without effect: always strict."),
                            ]
                        ),
                    ]
                ).orNull),
            Self.refused("verbosity", "the model has one", unless: ["medium"]),
        ])
    }

    private var reasoningOptions: Shape {
        .object([
            .init(
                "effort",
                .either([
                    .enumeration(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
                    .null,
                ]), "As reasoning_effort of chats."),
            Self.ignored("summary", "the thought itself is given"),
            Self.ignored("generate_summary", "the thought itself is given"),
        ])
    }
}
