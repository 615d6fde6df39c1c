import Tensors

/// GLM-5, 5.1 and 5.2: V3's network with the indexer of DeepSeek-V3.2, whose choice some blocks
/// of 5.2 share.
enum GlmMoeDsa: Architecture {
    static let classNames = ["GlmMoeDsaForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames
    static let attention = DeepSeekV32.attention
    static let trains = false

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        var defaults = FamilyDefaults()
        (defaults.denseLayerCount, defaults.sharedExpertCount) = (3, 1)
        (defaults.routedScalingFactor, defaults.normEpsilon) = (2.5, 1e-5)
        defaults.sparseIndexCount = DeepSeekV32.indexCount
        defaults.indexer = IndexerShape(headCount: 32, headSize: 128, rotatesNeighbours: true)
        return try ModelConfiguration(from: decoder, defaults)
    }
}
