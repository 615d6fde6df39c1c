import Encoding

extension RequestShapes {
    /// `POST /v1/chat/completions`.
    var chat: Shape {
        .object(
            [
                .init("messages", .array(message, 1 ... limits.messages), required: true),
                .init("logprobs", .boolean.orNull),
                .init("top_logprobs", .integer(0 ... limits.topLogprobs).orNull),
                .init("parallel_tool_calls", .boolean.orNull, "false: at most one call."),
                .init(
                    "thinking_token_budget", .integer(0 ... .max).orNull,
                    "Tokens after which a thought is ended."),
            ] + template + Self.refusedOfChats + generation)
    }

    /// What a chat template reads, beside the messages.
    var template: [Shape.Field] {
        [
            .init("tools", .array(tool, 0 ... limits.tools).orNull),
            .init(
                "tool_choice",
                .either([.enumeration(["none", "auto", "required"]), choice, .null])),
            .init(
                "reasoning_effort",
                .either([
                    .enumeration(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
                    .null,
                ]),
                "none: no thought; the others: a thought where the template has that switch, as "
                    + "long as the model makes it."),
            .init(
                "chat_template_kwargs",
                Shape.object([
                    .init("thinking", .boolean.orNull),
                    .init("enable_thinking", .boolean.orNull, "The same."),
                    .init(
                        "preserve_thinking", .boolean.orNull,
                        "Whether the thoughts of all earlier answers stay in the prompt; styles "
                            + "kimi-k2.5, glm-4.7-flash, glm-5.1, glm-5.2."),
                    .init("clear_thinking", .boolean.orNull, "The opposite."),
                    .init(
                        "current_date", Shape.string(0 ... 64).orNull,
                        "The day that a prompt of style gpt-oss says, as 2025-06-28; by default "
                            + "the one on which the server started, in UTC."),
                ]).orNull,
                "Whether an answer begins with a thought. A constrained text and a forced call "
                    + "have none, but in style gpt-oss."),
            .init(
                "continue_final_message", .boolean.orNull,
                "The answer continues the last message, which is the assistant's, as with its "
                    + "member prefix. The answer holds what is new."),
            .init(
                "add_generation_prompt", .boolean.orNull,
                "Must be the opposite of continue_final_message."),
        ]
    }

    /// What `strict` of a tool does.
    static let strictNote =
        "One whose schema cannot be a grammar is refused where this is true or the call is forced; "
        + "elsewhere its arguments are any object then."

    private var tool: Shape {
        .object([
            .init("type", .enumeration(["function"]), required: true),
            .init(
                "function",
                .open([
                    .init("name", .string(1 ... 64), required: true),
                    .init("description", text.orNull),
                    .init("parameters", Self.schema.orNull),
                    .init(
                        "strict", .boolean.orNull,
                        Self.strictNote),
                ]), required: true, "The model reads all of it."),
        ])
    }

    private var choice: Shape {
        let function = Shape.object([.init("name", .string(1 ... 64), required: true)])
        let named = Shape.object([
            .init("type", .enumeration(["function"]), required: true),
            .init("function", function, required: true),
        ])
        return .tagged(
            "type",
            [
                ("function", [.init("function", function, required: true)]),
                (
                    "allowed_tools",
                    [
                        .init(
                            "allowed_tools",
                            .object([
                                .init("mode", .enumeration(["auto", "required"]), required: true),
                                .init("tools", .array(named, 1 ... limits.tools), required: true),
                            ]), required: true)
                    ]
                ),
            ])
    }

    /// A turn of a conversation.
    ///
    /// Clients send an answer's members back as they got them, and what other servers added.
    var message: Shape {
        let part = Shape.tagged(
            "type",
            [
                (
                    "text",
                    [
                        .init("text", text, required: true),
                        .init("cache_control", .any, "Without effect: prefixes are always cached."),
                    ]
                )
            ])
        let call = Shape.object([
            .init("id", .string(0 ... 256).orNull),
            .init("type", .enumeration(["function"])),
            .init("index", .integer(0 ... .max).orNull, "Without effect."),
            .init(
                "function",
                .object([
                    .init("name", .string(1 ... 64), required: true),
                    .init("arguments", text, required: true),
                ]), required: true),
        ])
        return .object(
            [
                .init(
                    "role", .enumeration(["system", "developer", "user", "assistant", "tool"]),
                    required: true),
                .init("content", .either([text, .array(part, 0 ... 1024), .null])),
                .init("tool_calls", .array(call, 0 ... 128).orNull),
                .init(
                    "tool_call_id", .string(0 ... 256).orNull,
                    "Results are put in the order of the calls, as templates match them; without "
                        + "ids they stand in it."),
                .init("prefix", .boolean.orNull, "The answer continues this last message."),
                .init(
                    "reasoning_content", text.orNull,
                    "An earlier thought, which some templates repeat until the user's next turn."),
                .init("reasoning", text.orNull, "The same."),
                .init("name", .string(0 ... 256).orNull, "Kimi's templates write it, no other."),
            ] + Self.withoutEffectInMessages)
    }
}
