import Tensors

/// Kimi-VL: Moonlight's network beside a vision tower, which is left aside.
///
/// The keys of the network stand in `text_config`, and its tensors begin with `language_model.`.
enum KimiVL: Architecture {
    static let classNames = ["KimiVLForConditionalGeneration"]
    static let tensorNames = KimiK25.tensorNames
    static let attention = DeepSeekV3.attention
    static let textKey: ModelConfiguration.CodingKeys? = .text
    static let leftAside = [
        LeftAside(mark: "vision_tower.", part: "the vision tower"),
        LeftAside(mark: "multi_modal_projector.", part: "the vision tower's projector"),
    ]
    static let trains = false

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        try ModelConfiguration(textIn: decoder, FamilyDefaults())
    }
}
