import Encoding

/// What Anthropic's Messages API takes.
extension RequestShapes {
    /// `POST /v1/messages`.
    var messages: Shape {
        .object(
            [
                .init("max_tokens", .integer(1 ... .max), required: true),
                .init("stream", .boolean.orNull),
                .init("temperature", .number(0 ... 2).orNull),
                .init("top_p", .number(0 ... 1).orNull),
                .init("top_k", .integer(-1 ... .max).orNull, "0 or -1 keeps all."),
                .init(
                    "stop_sequences",
                    .array(.string(1 ... limits.stopLength), 0 ... limits.stopStrings).orNull),
                .init(
                    "seed", .integer(.min ... .max).orNull,
                    "Not of Anthropic's API: one seed, one text."),
                .init("cache_salt", .string(1 ... 256).orNull, "Keeps cached prefixes apart."),
                Self.ignored("metadata", "nothing is kept of who asks"),
                Self.refused(
                    "service_tier", "there is one tier", unless: ["auto", "standard_only"]),
                Self.ignored("diagnostics", "the log of accesses has what is known of a request"),
            ] + messagesPrompt)
    }

    /// `POST /v1/messages/count_tokens`.
    var countTokens: Shape { .object(messagesPrompt) }

    /// What the prompt of a message is made of.
    private var messagesPrompt: [Shape.Field] {
        let message = Shape.object([
            .init("role", .enumeration(["user", "assistant"]), required: true),
            .init(
                "content", .either([text, .array(contentBlock, 0 ... 1024)]), required: true),
        ])
        return [
            .init("model", .string(0 ... 512), required: true),
            .init("messages", .array(message, 1 ... limits.messages), required: true),
            .init("system", .either([text, .array(textBlock, 0 ... 1024), .null])),
            .init("tools", .array(messageTool, 0 ... limits.tools).orNull),
            .init("tool_choice", messageToolChoice.orNull),
            .init(
                "thinking", thinking.orNull,
                "enabled and disabled are for templates with that switch; adaptive leaves it to "
                    + "the template. An answer in a format has no thought."),
            .init("output_config", outputConfiguration.orNull),
            .init("output_format", outputFormat.orNull, "output_config.format by its older name."),
            Self.ignored("cache_control", "prefixes are always cached"),
            Self.ignored("context_management", "the conversation is read as it was sent"),
            Self.refused("mcp_servers", "the server calls no tools", unless: [[]]),
            Self.refused("container", "the server runs no code of its clients"),
            Self.refused("inference_geo", "the ranks are where they are"),
            Self.refused("speed", "there is one speed", unless: ["standard"]),
            Self.ignored("user_profile_id", "nothing is kept of who asks"),
            Self.ignored("workspace_id", "nothing is kept of who asks"),
        ]
    }

    private static let cacheControl = ignored("cache_control", "prefixes are always cached")

    private var textBlock: Shape { .tagged("type", [("text", textFields)]) }

    private var textFields: [Shape.Field] {
        [
            .init("text", text, required: true), Self.cacheControl,
            Self.ignored("citations", "no template writes them"),
        ]
    }

    private var contentBlock: Shape {
        .tagged(
            "type",
            [
                ("text", textFields),
                (
                    "tool_use",
                    [
                        .init("id", .string(1 ... 256), required: true),
                        .init("name", .string(1 ... 128), required: true),
                        .init("input", .map(.any, limit: 10_000), required: true),
                        Self.cacheControl,
                        Self.ignored("caller", "the model calls tools itself"),
                        Self.ignored("toolset_name", "no template writes it"),
                    ]
                ),
                (
                    "tool_result",
                    [
                        .init("tool_use_id", .string(1 ... 256), required: true),
                        .init("content", .either([text, .array(textBlock, 0 ... 1024), .null])),
                        .init(
                            "is_error", .boolean.orNull,
                            "Without effect: templates have no word for it, the content says it."),
                        Self.ignored("toolset_name", "no template writes it"),
                        Self.cacheControl,
                    ]
                ),
                (
                    "thinking",
                    [
                        .init(
                            "thinking", text, required: true,
                            "Some templates repeat a thought until the user's next turn."),
                        Self.ignored("signature", "thoughts are not signed"),
                    ]
                ),
                ("redacted_thinking", [Self.ignored("data", "thoughts are not sealed")]),
            ])
    }

    private var messageTool: Shape {
        .object([
            Self.refused("type", "the server has no tools of its own", unless: ["custom"]),
            .init("name", .string(1 ... 128), required: true),
            .init("description", text.orNull),
            .init("input_schema", Self.schema, required: true),
            .init(
                "strict", .boolean.orNull,
                Self.strictNote),
            .init("defer_loading", .only([false, .null], "the model reads all tools")),
            Self.cacheControl,
            Self.ignored("input_examples", "no template writes them"),
            Self.ignored("eager_input_streaming", "arguments always stream as they come"),
            Self.ignored("allowed_callers", "the model calls tools itself"),
        ])
    }

    private var messageToolChoice: Shape {
        let parallel = Shape.Field("disable_parallel_tool_use", .boolean.orNull)
        return .tagged(
            "type",
            [
                ("auto", [parallel]), ("any", [parallel]), ("none", []),
                ("tool", [.init("name", .string(1 ... 128), required: true), parallel]),
            ])
    }

    private var thinking: Shape {
        let display = Self.ignored("display", "thoughts are shown")
        return .tagged(
            "type",
            [
                (
                    "enabled",
                    [
                        .init(
                            "budget_tokens", .integer(0 ... .max), required: true,
                            "Tokens after which a thought is ended."), display,
                    ]
                ),
                ("disabled", []), ("adaptive", [display]),
            ])
    }

    private var outputConfiguration: Shape {
        .object([
            .init("format", outputFormat.orNull, "What the text must be."),
            Self.ignored("effort", "the template has one; thinking.budget_tokens bounds a thought"),
            Self.ignored("task_budget", "max_tokens bounds an answer"),
        ])
    }

    private var outputFormat: Shape {
        .tagged("type", [("json_schema", [.init("schema", Self.schema, required: true)])])
    }
}
