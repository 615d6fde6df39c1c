import Tensors

/// GLM-4.7-Flash: V3's network, whose dense blocks `mlp_layer_types` names one by one.
enum Glm4MoeLite: Architecture {
    static let classNames = ["Glm4MoeLiteForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames
    static let attention = DeepSeekV3.attention

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        var defaults = FamilyDefaults()
        (defaults.denseLayerCount, defaults.sharedExpertCount) = (1, 1)
        (defaults.routedScalingFactor, defaults.normEpsilon) = (1.8, 1e-5)
        return try ModelConfiguration(from: decoder, defaults)
    }
}
