import Encoding

/// What becomes of each key of a `config.json`.
///
/// A key is read, or it has one value that this program runs, or it is known to change no number.
/// Any other key may change numbers, so it is refused by its name. A value of null is no value.
/// `docs/reference/checkpoints.md` has the same lists for people, and a test compares them.
enum ConfigurationKeys {
    /// Why a key has no effect here.
    enum Reason: String, CaseIterable {
        case training = "is for training"
        case sampling = "is for sampling: requests and generation_config.json say it"
        case output = "says what a call in Python returns"
        case computing = "says how another program computes the same numbers"
        case origin = "says where the file comes from"
        case task = "is for other tasks than writing text"
        case tokens = "names a token that no text begins or ends with"
        case drafts = "changes drafts, and no token of a text"
        case widths = "repeats a width that other keys give"
        case image = "belongs to pictures, which are left aside"
    }

    /// Keys whose values are read.
    static let honoured: Set<String> = Set(
        ModelConfiguration.CodingKeys.allCases.map(\.rawValue)
    ).subtracting(fixed.keys).subtracting([ModelConfiguration.CodingKeys.text.rawValue])
        .union(["compression_config"])

    /// Keys of `rope_scaling` and `rope_parameters` whose values are read.
    static let honouredOfRope: Set<String> = Set(YaRN.CodingKeys.allCases.map(\.rawValue))

    /// Keys of which this program runs some values; other values are refused.
    static let fixed: [String: [JSONValue]] = [
        "hidden_act": ["silu"], "tie_word_embeddings": [false], "attention_bias": [false],
        "mlp_bias": [false], "partial_rotary_factor": [1], "moe_router_dtype": ["float32"],
        "is_encoder_decoder": [false], "tie_encoder_decoder": [false],
        "add_cross_attention": [false], "pruned_heads": [[:]], "use_sliding_window": [false],
        "per_layer_config": [[:]],
    ]

    /// The same for `rope_scaling` and `rope_parameters`.
    static let fixedOfRope: [String: [JSONValue]] = [
        "partial_rotary_factor": [1], "llama_4_scaling_beta": [0],
    ]

    /// The values that `layer_types` may list: the family says which of them its blocks are.
    static let layerTypes: [JSONValue] = [
        "full_attention", "indexed_attention",
        // Its older name, which Transformers 5.23 still reads.
        "deepseek_sparse_attention",
    ]

    /// Keys that are known to change no number.
    static let withoutEffect: [Reason: Set<String>] = [
        .training: [
            "attention_dropout", "aux_loss_alpha", "gradient_checkpointing", "hidden_dropout",
            "initializer_range", "router_aux_loss_coef", "seq_aux", "tf_legacy_loss",
        ],
        .sampling: [
            "bad_words_ids", "begin_suppress_tokens", "decoder_start_token_id",
            "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size",
            "epsilon_cutoff", "eta_cutoff", "exponential_decay_length_penalty",
            "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "max_length",
            "max_new_tokens", "min_length", "min_new_tokens", "min_p", "no_repeat_ngram_size",
            "num_beam_groups", "num_beams", "num_return_sequences", "remove_invalid_values",
            "renormalize_logits", "repetition_penalty", "suppress_tokens", "temperature", "top_k",
            "top_p", "typical_p",
        ],
        .output: [
            "output_attentions", "output_hidden_states", "output_router_logits", "output_scores",
            "return_dict", "return_dict_in_generate",
        ],
        .computing: [
            "attn_implementation", "chunk_size_feed_forward", "ep_size", "pretraining_tp",
            "torchscript", "use_bfloat16", "use_cache", "use_mtp",
        ],
        .origin: [
            "auto_map", "custom_pipelines", "name_or_path", "transformers.js_config",
            "transformers_version", "transformers_weights", "unsloth_fixed", "unsloth_version",
        ],
        .task: [
            "cross_attention_hidden_size", "finetuning_task", "id2label", "is_decoder",
            "keys_to_ignore_at_inference", "label2id", "num_labels", "prefix", "problem_type",
            "task_specific_params", "tokenizer_class",
        ],
        .tokens: ["cls_token_id", "mask_token_id", "pad_token_id", "sep_token_id", "unk_token_id"],
        .drafts: ["index_share_for_mtp_iteration"],
        .widths: ["head_dim"],
    ]

    /// Keys beside `text_config` that belong to pictures.
    static let ofImages: Set<String> = [
        "ignore_index", "image_token_id", "media_placeholder_token_id",
        "projection_hidden_size", "projection_layer_norm_eps", "use_unified_vision_chunk",
        "video_placeholder", "video_token_id", "vision_config", "vision_end_token_id",
        "vision_start_token_id", "vocab_size",
    ]

    /// Keys that are read where they stand beside `text_config`.
    static let honouredBesideText: Set<String> = [
        "architectures", "bos_token_id", "compression_config", "dtype", "eos_token_id",
        "model_type", "quantization_config", "text_config", "torch_dtype",
    ]

    private static let harmless: Set<String> = withoutEffect.values.reduce([]) { $0.union($1) }
}

extension ConfigurationKeys {
    private typealias Refusal = ModelConfiguration.Refusal

    /// Checks the architecture, then the storage of the weights, then every key.
    static func check(_ root: JSONValue) throws {
        let family = try family(root)
        let isFused = family.tensorNames.fused != nil
        try QuantizationKeys.check(besides: root, prefix: "", isFused: isFused)
        guard let key = family.textKey?.rawValue else {
            return try checkNetwork(root, family.keys, prefix: "")
        }
        guard let text = root[key], text.object != nil else {
            throw Refusal(
                key: key,
                fact: root[key] == nil
                    ? "is missing; \(family.classNames[0]) keeps its network's keys there"
                    : "is not an object")
        }
        for (name, value) in root.object ?? [] where !value.isNull {
            guard !honouredBesideText.contains(name), !ofImages.contains(name) else { continue }
            try checkOther(name, value, fixed, at: name)
        }
        try QuantizationKeys.check(besides: text, prefix: key + ".", isFused: isFused)
        try checkNetwork(text, family.keys, prefix: key + ".")
    }

    /// The family of a file, before anything else of it is read.
    private static func family(_ root: JSONValue) throws -> any Architecture.Type {
        let key = ModelConfiguration.CodingKeys.architectures.rawValue
        guard root.object != nil else {
            throw Refusal(key: "the text", fact: "is \(root.kind), not an object")
        }
        guard let given = root[key], !given.isNull else {
            let type = root["model_type"]?.string
            guard type == nil || type == "deepseek_v3" else {
                throw Refusal(
                    key: key,
                    fact: "is missing; model_type \((type ?? "").printable()) does not say which "
                        + "code made the weights. " + Architectures.taken)
            }
            return DeepSeekV3.self
        }
        guard let names = given.array?.map(\.string) else {
            throw Refusal(key: key, fact: "is \(given.kind), not a list of class names")
        }
        let classes = names.compactMap { $0 }
        guard classes.count == names.count, let family = Architectures.named(classes) else {
            throw Refusal(key: key, fact: Architectures.refusal(classes))
        }
        return family
    }

    private static func checkNetwork(
        _ network: JSONValue, _ own: FamilyKeys?, prefix: String
    ) throws {
        let read = own?.read ?? honoured
        let readOfRope = honouredOfRope.union(own?.readOfRope ?? [])
        let fixed = fixed.merging(own?.fixed ?? [:]) { $1 }
        let lists = ["layer_types": layerTypes].merging(own?.lists ?? [:]) { $1 }
        for (name, value) in network.object ?? [] where !value.isNull {
            switch name {
            case "rope_scaling", "rope_parameters":
                for (inner, value) in value.object ?? []
                where !value.isNull && !readOfRope.contains(inner) {
                    try checkOther(inner, value, fixedOfRope, at: "\(prefix)\(name).\(inner)")
                }
            default:
                if let taken = lists[name] {
                    for element in value.array ?? [value] where !taken.contains(element) {
                        throw refusal(prefix + name, element, taken: taken)
                    }
                    continue
                }
                guard !read.contains(name), own?.withoutEffect.contains(name) != true else {
                    continue
                }
                try checkOther(name, value, fixed, at: prefix + name)
            }
        }
    }

    /// Checks a key that is not read.
    private static func checkOther(
        _ name: String, _ value: JSONValue, _ fixed: [String: [JSONValue]], at path: String
    ) throws {
        if let values = fixed[name] {
            guard values.contains(value) else { throw refusal(path, value, taken: values) }
            return
        }
        // Names that begin so are Transformers' own notes.
        guard !harmless.contains(name), !name.hasPrefix("_") else { return }
        throw Refusal(
            key: path.printable(),
            fact:
                "\(value.encoded().printable(limit: 40)) is the value of an unknown key, which may "
                + "change the numbers; known keys stand in docs/reference/checkpoints.md")
    }

    private static func refusal(
        _ path: String, _ value: JSONValue, taken: [JSONValue]
    ) -> Refusal {
        let list = taken.map { $0.encoded() }.joined(separator: " or ")
        return Refusal(
            key: path, fact: "\(value.encoded().printable(limit: 40)) is not run; taken is \(list)")
    }
}
