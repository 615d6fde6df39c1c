import Tensors

/// DeepSeek-V3.2: V3 with an indexer that chooses `index_topk` tokens for attention.
///
/// The indexer is not run. Among so many tokens it chooses all, which is V3's attention; the
/// context ends there.
enum DeepSeekV32: Architecture {
    static let classNames = ["DeepseekV32ForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames
    static let attention = DeepSeekV3.attention
    static let leftAside = [LeftAside.indexer]
    static let trains = false

    /// What the code that knows an indexer takes without `index_topk`.
    static let indexCount = 2048

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        var defaults = FamilyDefaults()
        defaults.sparseIndexCount = indexCount
        return try ModelConfiguration(from: decoder, defaults)
    }
}
