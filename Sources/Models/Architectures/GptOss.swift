import Encoding
import Tensors

/// gpt-oss: grouped queries with biases and a sink per head, which see a window in every other
/// block, and experts with biases and a clamped activation, all of a block in one tensor.
enum GptOss: GroupedArchitecture {
    static let classNames = ["GptOssForCausalLM"]

    static let tensorNames: TensorNames = {
        let v3 = DeepSeekV3.tensorNames
        return TensorNames(
            embedding: v3.embedding, finalNorm: v3.finalNorm, head: v3.head, block: v3.block,
            inputNorm: v3.inputNorm, feedForwardNorm: v3.feedForwardNorm,
            gate: "mlp.router.weight", gateBias: "mlp.router.bias", dense: v3.dense,
            sharedExperts: v3.sharedExperts, routedExpert: "mlp.experts.", network: v3.network,
            mtp: v3.mtp,
            fused: FusedExpertNames(
                gateUp: "gate_up_proj", gateUpBias: "gate_up_proj_bias", down: "down_proj",
                downBias: "down_proj_bias"))
    }()

    static let attention = AttentionKind.grouped(
        GroupedAttentionNames(
            query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj",
            output: "self_attn.o_proj", queryNorm: "self_attn.q_norm.weight",
            keyNorm: "self_attn.k_norm.weight", hasOutputBias: true, sinks: "self_attn.sinks"))

    static let grouped = GroupedFamily(
        norm: .never, rotation: .whole, expertLayers: .all, expertCount: .localExpertCount,
        expertWidth: .width,
        keys: FamilyKeys(
            read: FamilyKeys.ofGroupedQueries.union([
                "attention_bias", "layer_types", "sliding_window", "swiglu_alpha", "swiglu_limit",
            ]),
            lists: ["layer_types": [.string(slidingLayer), .string(fullLayer)]],
            // They repeat num_experts_per_tok and original_max_position_embeddings.
            withoutEffect: ["experts_per_token", "initial_context_length"]))

    /// What `layer_types` calls a block that sees a window, and one that sees all.
    static let (slidingLayer, fullLayer) = ("sliding_attention", "full_attention")

    static let defaults: FamilyDefaults = {
        var defaults = FamilyDefaults()
        (defaults.scoring, defaults.topKMethod) = (.softmax, .biased)
        (defaults.headSize, defaults.attentionBias) = (64, true)
        (defaults.ropeTheta, defaults.normEpsilon) = (150_000, 1e-5)
        return defaults
    }()

    /// Source: Transformers' `GptOssTopKRouter`.
    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        GateRule(
            score: .softmaxOfChosen, expertCount: configuration.routedExpertCount,
            topK: configuration.activeExpertCount)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        var configuration = try ModelConfiguration(groupedFrom: decoder, grouped, defaults)
        let box = try decoder.container(keyedBy: GroupedKey.self)
        guard try box.hasValue(.ropeScaling) || box.hasValue(.ropeParameters) else {
            throw ModelConfiguration.Refusal(
                key: GroupedKey.ropeScaling.rawValue,
                fact: "is missing, and so is rope_parameters; every release says its stretch")
        }
        try configuration.readWindow(box)
        try configuration.readActivation(box)
        return configuration
    }
}
