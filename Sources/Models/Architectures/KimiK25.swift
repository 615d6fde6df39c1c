import Tensors

/// Kimi-K2.5 and K2.6: V3's network beside a vision tower, which is left aside.
///
/// The keys of the network stand in `text_config`, and its tensors begin with `language_model.`.
enum KimiK25: Architecture {
    static let classNames = ["KimiK25ForConditionalGeneration"]
    static let tensorNames = DeepSeekV3.tensorNames.prefixed("language_model.")
    static let attention = DeepSeekV3.attention
    static let textKey: ModelConfiguration.CodingKeys? = .text
    static let leftAside = [
        LeftAside(mark: "vision_tower.", part: "the vision tower"),
        LeftAside(mark: "mm_projector.", part: "the vision tower's projector"),
    ]
    static let trains = false

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        try ModelConfiguration(textIn: decoder, FamilyDefaults())
    }
}
