/// GLM-4.5, 4.6 and 4.7: grouped queries that turn in part, and V3's gate, shared expert and block
/// of multi-token prediction.
enum Glm4Moe: GroupedArchitecture {
    static let classNames = ["Glm4MoeForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames

    static let attention = AttentionKind.grouped(
        GroupedAttentionNames(
            query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj",
            output: "self_attn.o_proj", queryNorm: "self_attn.q_norm.weight",
            keyNorm: "self_attn.k_norm.weight", hasOutputBias: false))

    static let grouped = GroupedFamily(
        norm: .said, rotation: .share(0.5), expertLayers: .first,
        expertCount: .routedExpertCount, expertWidth: .expertWidth,
        keys: FamilyKeys(
            read: FamilyKeys.ofGroupedQueries.union([
                "attention_bias", "first_k_dense_replace", "moe_intermediate_size", "n_group",
                "n_routed_experts", "n_shared_experts", "norm_topk_prob",
                "num_nextn_predict_layers", "num_mtp_layers", "partial_rotary_factor",
                "routed_scaling_factor", "topk_group", "use_qk_norm",
            ]),
            readOfRope: ["partial_rotary_factor"]))

    static let defaults: FamilyDefaults = {
        var defaults = FamilyDefaults()
        (defaults.denseLayerCount, defaults.sharedExpertCount) = (1, 1)
        defaults.normEpsilon = 1e-5
        return defaults
    }()
}
