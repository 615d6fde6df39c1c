import Tensors

/// DeepSeek-V3, R1 and V3.1.
enum DeepSeekV3: Architecture {
    static let classNames = ["DeepseekV3ForCausalLM"]

    static let tensorNames = TensorNames(
        embedding: "model.embed_tokens.weight", finalNorm: "model.norm.weight",
        head: "lm_head.weight", block: "model.layers.#.", inputNorm: "input_layernorm.weight",
        feedForwardNorm: "post_attention_layernorm.weight", gate: "mlp.gate.weight",
        gateBias: "mlp.gate.e_score_correction_bias", dense: "mlp.",
        sharedExperts: "mlp.shared_experts.", routedExpert: "mlp.experts.#.",
        network: NetworkNames(
            gate: "gate_proj.weight", up: "up_proj.weight", down: "down_proj.weight"),
        mtp: MTPNames(
            embedding: "embed_tokens.weight", embeddingNorm: "enorm.weight",
            hiddenNorm: "hnorm.weight", projection: "eh_proj.weight",
            headNorm: "shared_head.norm.weight", head: "shared_head.head.weight"))

    static let attention = AttentionKind.latent(latentNames)

    static let latentNames = LatentAttentionNames(
        queryDown: "self_attn.q_a_proj.weight", queryNorm: "self_attn.q_a_layernorm.weight",
        queryUp: "self_attn.q_b_proj.weight", query: "self_attn.q_proj.weight",
        latentDown: "self_attn.kv_a_proj_with_mqa.weight",
        latentNorm: "self_attn.kv_a_layernorm.weight",
        latentUp: "self_attn.kv_b_proj.weight", output: "self_attn.o_proj.weight")

    /// V2 either divides the chosen weights by their sum or scales them; V3 does both.
    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        let isBiased = configuration.topKMethod == .biased
        let scales = isBiased || !configuration.normalizesWeights
        return GateRule(
            score: configuration.scoring == .sigmoid ? .sigmoid : .softmax,
            expertCount: configuration.routedExpertCount, topK: configuration.activeExpertCount,
            groupCount: configuration.groupCount, topGroups: configuration.keptGroupCount,
            groupScore: isBiased ? .bestTwo : .best,
            normalises: configuration.normalizesWeights,
            scaling: scales ? configuration.routedScalingFactor : 1)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        try ModelConfiguration(from: decoder, FamilyDefaults())
    }
}

extension ModelConfiguration {
    /// The keys of a `config.json`, as DeepSeek publishes them.
    enum CodingKeys: String, CodingKey, CaseIterable {
        case architectures
        case modelType = "model_type"
        case hiddenSize = "hidden_size"
        case intermediateSize = "intermediate_size"
        case expertIntermediateSize = "moe_intermediate_size"
        case layerCount = "num_hidden_layers"
        case denseLayerCount = "first_k_dense_replace"
        case expertLayerStride = "moe_layer_freq"
        case expertLayers = "mlp_layer_types"
        case headCount = "num_attention_heads"
        case keyValueHeadCount = "num_key_value_heads"
        case queryLatentSize = "q_lora_rank"
        case latentSize = "kv_lora_rank"
        case ropeHeadSize = "qk_rope_head_dim"
        case nopeHeadSize = "qk_nope_head_dim"
        case valueHeadSize = "v_head_dim"
        case queryHeadSize = "qk_head_dim"
        case routedExpertCount = "n_routed_experts"
        case newerRoutedExpertCount = "num_local_experts"
        case sharedExpertCount = "n_shared_experts"
        case activeExpertCount = "num_experts_per_tok"
        case groupCount = "n_group"
        case keptGroupCount = "topk_group"
        case scoring = "scoring_func"
        case topKMethod = "topk_method"
        case normalizesWeights = "norm_topk_prob"
        case routedScalingFactor = "routed_scaling_factor"
        case vocabularySize = "vocab_size"
        case positionLimit = "max_position_embeddings"
        case normEpsilon = "rms_norm_eps"
        case ropeTheta = "rope_theta"
        case ropeScaling = "rope_scaling"
        case ropeParameters = "rope_parameters"
        case rotatesNeighbours = "rope_interleave"
        case mtpLayerCount = "num_nextn_predict_layers"
        case newerMTPLayerCount = "num_mtp_layers"
        case quantization = "quantization_config"
        case beginToken = "bos_token_id"
        case endTokens = "eos_token_id"
        case storedType = "torch_dtype"
        case newerStoredType = "dtype"
        case activation = "hidden_act"
        case tiesEmbeddings = "tie_word_embeddings"
        case attentionBias = "attention_bias"
        case sparseIndexCount = "index_topk"
        case indexHeadCount = "index_n_heads"
        case indexHeadSize = "index_head_dim"
        case indexRotatesNeighbours = "indexer_rope_interleave"
        case indexerTypes = "indexer_types"
        case indexerPattern = "index_topk_pattern"
        case indexerStride = "index_topk_freq"
        case indexerOffset = "index_skip_topk_offset"
        case text = "text_config"
    }
}
