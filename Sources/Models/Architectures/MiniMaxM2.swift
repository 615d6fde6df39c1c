import Encoding

/// MiniMax-M2 to M2.7: grouped queries that turn in part and are normed over all heads, and a
/// sigmoid gate with a bias and without groups.
enum MiniMaxM2: GroupedArchitecture {
    static let classNames = ["MiniMaxM2ForCausalLM"]

    static let tensorNames: TensorNames = {
        let v3 = DeepSeekV3.tensorNames
        return TensorNames(
            embedding: v3.embedding, finalNorm: v3.finalNorm, head: v3.head, block: v3.block,
            inputNorm: v3.inputNorm, feedForwardNorm: v3.feedForwardNorm,
            gate: "block_sparse_moe.gate.weight",
            gateBias: "block_sparse_moe.e_score_correction_bias", dense: v3.dense,
            sharedExperts: v3.sharedExperts, routedExpert: "block_sparse_moe.experts.#.",
            network: NetworkNames(gate: "w1.weight", up: "w3.weight", down: "w2.weight"),
            mtp: v3.mtp)
    }()

    static let attention = Qwen3Moe.attention

    static let grouped = GroupedFamily(
        norm: .always(.allHeads), rotation: .count, expertLayers: .all,
        expertCount: .localExpertCount, expertWidth: .width,
        keys: FamilyKeys(
            read: FamilyKeys.ofGroupedQueries.union(["partial_rotary_factor", "rotary_dim"]),
            readOfRope: ["partial_rotary_factor"],
            fixed: [
                "layernorm_full_attention_beta": [1], "layernorm_linear_attention_beta": [1],
                "layernorm_mlp_beta": [1], "qk_norm_type": ["per_layer"],
                "scoring_func": ["sigmoid"], "shared_intermediate_size": [0],
                "use_qk_norm": [true], "use_routing_bias": [true],
            ],
            // Kinds of attention, of which 1 is attention over all tokens.
            lists: ["attn_type_list": [1]],
            // Of blocks that no release holds, and of training.
            withoutEffect: [
                "mlp_intermediate_size", "mtp_transformer_layers", "num_mtp_modules",
                "router_jitter_noise", "shared_moe_mode", "swa_rope_theta",
            ]))

    static let defaults: FamilyDefaults = {
        var defaults = FamilyDefaults()
        (defaults.ropeTheta, defaults.headSize) = (5_000_000, 128)
        return defaults
    }()
}
