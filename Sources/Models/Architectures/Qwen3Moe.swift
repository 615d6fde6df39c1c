import Encoding

/// Qwen3-MoE: grouped queries with a norm per head, and a softmax gate without bias or groups.
enum Qwen3Moe: GroupedArchitecture {
    static let classNames = ["Qwen3MoeForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames

    static let attention = AttentionKind.grouped(
        GroupedAttentionNames(
            query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj",
            output: "self_attn.o_proj", queryNorm: "self_attn.q_norm.weight",
            keyNorm: "self_attn.k_norm.weight", hasOutputBias: true))

    static let grouped = GroupedFamily(
        norm: .always(.head), rotation: .whole, expertLayers: .steps, expertCount: .expertCount,
        expertWidth: .expertWidth,
        keys: FamilyKeys(
            read: FamilyKeys.ofGroupedQueries.union([
                "attention_bias", "decoder_sparse_step", "mlp_only_layers",
                "moe_intermediate_size", "norm_topk_prob", "num_experts",
            ]),
            // Qwen3-Coder's files have these, with the values that the class computes.
            fixed: [
                "qkv_bias": [false], "shared_expert_intermediate_size": [0],
                "use_qk_norm": [true],
            ],
            // A window is none while use_sliding_window is false, its only value that is run.
            withoutEffect: ["max_window_layers", "sliding_window"]))

    static let defaults: FamilyDefaults = {
        var defaults = FamilyDefaults()
        (defaults.scoring, defaults.topKMethod) = (.softmax, .greedy)
        defaults.normalizesWeights = false
        return defaults
    }()
}
