import Encoding
import Tensors

/// One family of published models: what its checkpoints say in their own way.
///
/// Everything else in this room serves every family.
protocol Architecture: Sendable {
    /// The class names that its checkpoints state (`architectures` in `config.json`).
    static var classNames: [String] { get }
    /// What its tensors are called.
    static var tensorNames: TensorNames { get }
    /// How its blocks attend, and what the tensors of that are called.
    static var attention: AttentionKind { get }
    /// How tokens choose experts.
    static func gateRule(_ configuration: ModelConfiguration) -> GateRule
    /// Reads a `config.json` into the shape of a network.
    static func configuration(from decoder: any Decoder) throws -> ModelConfiguration
    /// The key whose value has the keys of the network; nil where they stand alone.
    static var textKey: ModelConfiguration.CodingKeys? { get }
    /// Tensors that its checkpoints hold and that this program does not need.
    static var leftAside: [LeftAside] { get }
    /// Whether this program trains it as its makers do.
    static var trains: Bool { get }
    /// What becomes of its keys; nil where the common lists say it.
    static var keys: FamilyKeys? { get }
}

extension Architecture {
    static var textKey: ModelConfiguration.CodingKeys? { nil }
    static var leftAside: [LeftAside] { [] }
    static var trains: Bool { true }
    static var keys: FamilyKeys? { nil }
}

/// The families that this program runs.
enum Architectures {
    /// All of them, the default first.
    static let all: [any Architecture.Type] = [
        DeepSeekV3.self, DeepSeekV2.self, DeepSeekV32.self, Glm4MoeLite.self, GlmMoeDsa.self,
        KimiK25.self, KimiVL.self, Qwen3Moe.self, Glm4Moe.self, MiniMaxM2.self, GptOss.self,
    ]

    /// The family that one of these class names belongs to.
    static func named(_ classNames: [String]) -> (any Architecture.Type)? {
        all.first { architecture in
            classNames.contains(where: architecture.classNames.contains)
        }
    }

    /// The family that a `config.json` names and whose tensors hold all experts of a block, if it
    /// is such a one.
    static func fused(in root: JSONValue) -> (any Architecture.Type)? {
        let names = root[ModelConfiguration.CodingKeys.architectures.rawValue]?.array ?? []
        return named(names.compactMap(\.string)).flatMap { $0.tensorNames.fused == nil ? nil : $0 }
    }

    /// Whether a family stores a tensor of this name in FP8 in its FP8 checkpoints.
    static func isProjection(_ name: String) -> Bool {
        all.contains { $0.tensorNames.isProjection(name, attention: $0.attention) }
    }

    /// Whether a tensor of this name is a projection of a routed expert in some family.
    static func isExpertProjection(_ name: String) -> Bool {
        isProjection(name) && all.contains { $0.tensorNames.isRoutedExpert(name) }
    }

    /// Whether a matrix of this name is what compressed-tensors calls Linear: the others are tables
    /// and gates.
    static func isLinear(_ name: String) -> Bool {
        isProjection(name)
            || ["head.weight", "eh_proj.weight", "weights_proj.weight"]
                .contains(where: name.hasSuffix)
    }

    /// What is wrong with class names that belong to no family.
    static func refusal(_ classNames: [String]) -> String {
        "\("\(classNames)".printable()) is not run. \(taken)"
    }

    /// The class names that are run, as a sentence.
    static let taken = "Taken is one of " + all.flatMap { $0.classNames }.joined(separator: ", ")
}

extension ModelConfiguration {
    /// The family that this network belongs to; `validate` has found one.
    var architecture: any Architecture.Type {
        guard let architecture = Architectures.named(architectures) else {
            preconditionFailure("no architecture is called \(architectures)")
        }
        return architecture
    }

    /// How tokens choose experts.
    var gateRule: GateRule { architecture.gateRule(self) }

    /// Whether this program trains such a network as its makers do.
    public var trains: Bool { architecture.trains }
}
