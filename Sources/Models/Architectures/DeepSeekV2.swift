import Tensors

/// DeepSeek-V2 and V2-Lite, where they differ from V3: class name, and a gate that scores by
/// softmax unless `config.json` says otherwise.
enum DeepSeekV2: Architecture {
    static let classNames = ["DeepseekV2ForCausalLM"]
    static let tensorNames = DeepSeekV3.tensorNames
    static let attention = DeepSeekV3.attention

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        var defaults = FamilyDefaults()
        (defaults.scoring, defaults.topKMethod) = (.softmax, .greedy)
        return try ModelConfiguration(from: decoder, defaults)
    }
}
