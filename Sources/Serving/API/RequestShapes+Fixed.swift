import Encoding

/// Members of OpenAI's and vLLM's requests that this server does not act on.
///
/// Each is either without effect by its nature, with the reason, or refused unless it asks for
/// nothing.
extension RequestShapes {
    static func ignored(_ name: String, _ reason: String) -> Shape.Field {
        .init(name, .any, "Without effect: \(reason).")
    }

    static func refused(
        _ name: String, _ reason: String, unless values: [JSONValue] = []
    ) -> Shape.Field {
        .init(name, .only(values + [.null], reason))
    }

    /// Members of every generating request whose effect nobody could see in an answer.
    static let withoutEffect = [
        ignored("user", "nothing is kept of who asks"),
        ignored("safety_identifier", "nothing is kept of who asks"),
        ignored("metadata", "nothing is stored"),
        ignored("request_id", "the server numbers requests itself"),
        ignored("prompt_cache_key", "prefixes are found by their tokens; cache_salt keeps apart"),
        ignored("prediction", "it may save time only, and drafts come from the model"),
        ignored("spaces_between_special_tokens", "the tokenizer writes none"),
        ignored("guided_decoding_backend", "there is one"),
    ]

    /// Members of every generating request that ask for what is not there.
    static let refused = [
        refused("store", "nothing is stored", unless: [false]),
        refused("service_tier", "there is one tier", unless: ["auto", "default"]),
        refused("priority", "requests have one priority", unless: [0]),
        refused(
            "prompt_cache_retention", "prefixes stay as long as there is room",
            unless: ["in_memory", "in-memory"]),
        refused("use_beam_search", "texts are sampled", unless: [false]),
        refused("length_penalty", "texts are sampled, not searched", unless: [1]),
        refused("early_stopping", "texts are sampled, not searched", unless: [false]),
        refused(
            "include_stop_str_in_output", "a stop string is not part of the text",
            unless: [false]),
        refused("truncate_prompt_tokens", "a prompt is read whole"),
        refused("truncation_side", "a prompt is read whole"),
        refused("prompt_logprobs", "echo with logprobs gives a prompt's scores"),
        refused("allowed_token_ids", "logit_bias and constraints choose tokens"),
        refused("bad_words", "logit_bias forbids tokens", unless: [[]]),
        refused("logits_processors", "the server runs no code of its clients", unless: [[]]),
        refused("return_tokens_as_token_ids", "tokens are named by their text", unless: [false]),
        refused("return_token_ids", "POST /tokenize gives them", unless: [false]),
        refused("kv_transfer_params", "caches are not moved between servers"),
        refused("vllm_xargs", "there are no arguments of vLLM's plugins", unless: [[:]]),
        refused("repetition_detection", "penalties work against repetition"),
        refused("guided_grammar", "grammars constrain no text: schemas do"),
        refused("guided_whitespace_pattern", "white space follows the schema's compiler"),
        refused("structural_tag", "tags constrain no text: schemas and tools do"),
    ]

    /// Members of `structured_outputs` that ask for what is not there.
    static let refusedConstraints = [
        refused("grammar", "grammars constrain no text: schemas do"),
        refused("structural_tag", "tags constrain no text: schemas and tools do"),
        refused("whitespace_pattern", "white space follows the schema's compiler"),
        refused(
            "disable_any_whitespace", "white space follows the schema's compiler",
            unless: [false]),
        refused(
            "disable_additional_properties", "say additionalProperties in the schema",
            unless: [false]),
        refused("disable_fallback", "there is one compiler of schemas", unless: [false, true]),
    ]

    /// Members of chats alone that ask for what is not there.
    static let refusedOfChats = [
        refused("functions", "tools is their newer name", unless: [[]]),
        refused("function_call", "tool_choice is its newer name", unless: ["none", "auto"]),
        refused("modalities", "the model writes text", unless: [["text"]]),
        refused("audio", "the model writes text"),
        refused("verbosity", "the model has one", unless: ["medium"]),
        refused("web_search_options", "the server does not search"),
        refused("echo", "an answer holds what is new", unless: [false]),
        refused("add_special_tokens", "the chat template writes them", unless: [false]),
        refused("documents", "the chat template has no place for them", unless: [[]]),
        refused("chat_template", "templates are part of the model"),
        refused("include_reasoning", "thoughts are a member of their own", unless: [true]),
        refused("separate_reasoning", "thoughts are a member of their own", unless: [true]),
        refused("mm_processor_kwargs", "prompts are text", unless: [[:]]),
        refused("media_io_kwargs", "prompts are text", unless: [[:]]),
    ]

    /// Members of messages that the model does not read.
    static let withoutEffectInMessages = [
        ignored("id", "no template writes it"),
        ignored("refusal", "no template writes it"),
        ignored("annotations", "no template writes it"),
        ignored("provider_specific_fields", "no template writes it"),
        ignored("reasoning_details", "reasoning_content has an earlier thought"),
        ignored("thinking_blocks", "reasoning_content has an earlier thought"),
        refused("audio", "the model reads text"),
        refused("function_call", "tool_calls is its newer name"),
    ]
}
