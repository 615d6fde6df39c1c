import Tensors

/// A family whose blocks attend with grouped queries.
protocol GroupedArchitecture: Architecture {
    /// What its `config.json` says in its own way.
    static var grouped: GroupedFamily { get }
    /// What its code takes where a key is absent.
    static var defaults: FamilyDefaults { get }
}

extension GroupedArchitecture {
    static var keys: FamilyKeys? { grouped.keys }
    static var trains: Bool { false }

    static func gateRule(_ configuration: ModelConfiguration) -> GateRule {
        DeepSeekV3.gateRule(configuration)
    }

    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration {
        try ModelConfiguration(groupedFrom: decoder, grouped, defaults)
    }
}

/// Where families of grouped-query attention say the same in different words.
struct GroupedFamily: Sendable {
    /// What says how many values of a head turn with the position.
    enum Rotation: Sendable {
        /// Nothing: all of them.
        case whole
        /// `partial_rotary_factor`, or this share.
        case share(Double)
        /// `rotary_dim`, or `partial_rotary_factor`, or all of them.
        case count
    }

    /// What says which blocks have experts.
    enum ExpertLayers: Sendable {
        /// Nothing: all of them.
        case all
        /// `first_k_dense_replace`.
        case first
        /// `decoder_sparse_step` and `mlp_only_layers`.
        case steps
    }

    /// What says what is normed before rotation.
    enum Norm: Sendable {
        /// Nothing: this always is.
        case always(ModelConfiguration.QueryKeyNorm)
        /// `use_qk_norm` says whether each head is.
        case said
        /// Nothing: nothing is.
        case never
    }

    /// What is normed before rotation.
    let norm: Norm
    let rotation: Rotation
    let expertLayers: ExpertLayers
    /// The key of the count of routed experts.
    let expertCount: GroupedKey
    /// The key of the width of an expert.
    let expertWidth: GroupedKey
    /// What becomes of each key.
    let keys: FamilyKeys

    /// How messages call a key that other families have under another name.
    func name(_ key: ModelConfiguration.CodingKeys) -> String {
        switch key {
        case .routedExpertCount: expertCount.rawValue
        case .expertIntermediateSize: expertWidth.rawValue
        case .valueHeadSize: GroupedKey.headSize.rawValue
        case .ropeHeadSize:
            switch rotation {
            case .whole: GroupedKey.headSize.rawValue
            case .share: GroupedKey.rotatedShare.rawValue
            case .count: GroupedKey.rotatedCount.rawValue
            }
        default: key.rawValue
        }
    }
}

/// The keys of a `config.json` that families of grouped-query attention alone have, or have in
/// place of another.
enum GroupedKey: String, CodingKey {
    case headSize = "head_dim"
    case rotatedShare = "partial_rotary_factor"
    case rotatedCount = "rotary_dim"
    case normsQueries = "use_qk_norm"
    case expertCount = "num_experts"
    case localExpertCount = "num_local_experts"
    case routedExpertCount = "n_routed_experts"
    case expertWidth = "moe_intermediate_size"
    case width = "intermediate_size"
    case expertStep = "decoder_sparse_step"
    case denseLayers = "mlp_only_layers"
    case window = "sliding_window"
    case layerTypes = "layer_types"
    case activationAlpha = "swiglu_alpha"
    case activationLimit = "swiglu_limit"
    case ropeParameters = "rope_parameters"
    case ropeScaling = "rope_scaling"
}

extension ModelConfiguration {
    /// How messages call a key, in the words of the network's family.
    func keyName(_ key: CodingKeys) -> String {
        (Architectures.named(architectures) as? any GroupedArchitecture.Type)?.grouped.name(key)
            ?? key.rawValue
    }
}
