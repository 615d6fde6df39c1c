import Tensors

/// DeepSeek-V3.2: V3 with an indexer that chooses `index_topk` tokens for attention.
enum DeepSeekV32: Architecture {
    static let classNames = ["DeepseekV32ForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames
    static let attention = AttentionKind.latent(latentNames)
    static let trains = false

    /// V3's names, and those of the indexer.
    static let latentNames: LatentAttentionNames = {
        var names = DeepSeekV3.latentNames
        names.indexer = IndexerNames(
            query: "self_attn.indexer.wq_b.weight", key: "self_attn.indexer.wk.weight",
            keyNorm: "self_attn.indexer.k_norm.weight",
            keyNormBias: "self_attn.indexer.k_norm.bias",
            headWeights: "self_attn.indexer.weights_proj.weight")
        return names
    }()

    /// What the code that knows an indexer takes without `index_topk`.
    static let indexCount = 2048

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        var defaults = FamilyDefaults()
        defaults.sparseIndexCount = indexCount
        defaults.indexer = IndexerShape(headCount: 64, headSize: 128, rotatesNeighbours: false)
        return try ModelConfiguration(from: decoder, defaults)
    }
}
