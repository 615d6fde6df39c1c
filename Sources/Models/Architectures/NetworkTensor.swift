/// A tensor of a network, as its checkpoints store it.
public struct NetworkTensor: Sendable, Equatable {
    /// What it is, which decides how it is stored and how it starts.
    public enum Role: Sendable {
        /// A norm's weight.
        case norm
        /// The gate's selection bias, Float32 in every release, and the bias of a norm.
        case bias
        /// Added to the output of a projection.
        case offset
        /// A matrix that stays in bf16 where projections are in FP8: embedding, head, gate, and
        /// the projection of an MTP block.
        case wide
        /// A matrix that FP8 checkpoints store in FP8.
        case projection
        /// A matrix of each expert of a block, all in one tensor.
        case fused
    }

    /// As checkpoints name it.
    public let name: String
    /// Its extents, outermost first.
    public let shape: [Int]
    /// What it is.
    public let role: Role
    /// The name of the main model's tensor that it repeats: MTP blocks repeat embedding and head.
    public let original: String?

    init(name: String, shape: [Int], role: Role, original: String? = nil) {
        self.name = name
        self.shape = shape
        self.role = role
        self.original = original
    }

    /// The module that it is the weight of.
    var module: String { Self.module(name) }

    /// The module that a tensor of this name is the weight of.
    static func module(_ name: String) -> String {
        name.hasSuffix(".weight") ? String(name.dropLast(".weight".count)) : name
    }

    /// Whether it is the main model's head.
    var isHead: Bool { role == .wide && module.hasSuffix("lm_head") }

    /// Values in all.
    var elementCount: Int { shape.reduce(1, *) }
}

/// The three matrices of a feed-forward network.
struct FeedForwardTensors {
    let gate: NetworkTensor
    let up: NetworkTensor
    let down: NetworkTensor

    var all: [NetworkTensor] { [gate, up, down] }

    init(_ names: NetworkNames, prefix: String, hidden: Int, intermediate: Int) {
        func matrix(_ name: String, _ shape: [Int]) -> NetworkTensor {
            NetworkTensor(name: prefix + name, shape: shape, role: .projection)
        }
        gate = matrix(names.gate, [intermediate, hidden])
        up = matrix(names.up, [intermediate, hidden])
        down = matrix(names.down, [hidden, intermediate])
    }
}

/// What an MTP block has beside a block's tensors.
struct MTPTensors {
    let embedding: NetworkTensor
    let embeddingNorm: NetworkTensor
    let hiddenNorm: NetworkTensor
    let projection: NetworkTensor
    let headNorm: NetworkTensor
    let head: NetworkTensor

    init(_ table: TensorNames, prefix: String, hidden: Int, vocabulary: Int) {
        let names = table.mtp
        func norm(_ name: String) -> NetworkTensor {
            NetworkTensor(name: prefix + name, shape: [hidden], role: .norm)
        }
        func copy(_ name: String, of original: String) -> NetworkTensor {
            NetworkTensor(
                name: prefix + name, shape: [vocabulary, hidden], role: .wide, original: original)
        }
        embedding = copy(names.embedding, of: table.embedding)
        embeddingNorm = norm(names.embeddingNorm)
        hiddenNorm = norm(names.hiddenNorm)
        projection = NetworkTensor(
            name: prefix + names.projection, shape: [hidden, 2 * hidden], role: .wide)
        headNorm = norm(names.headNorm)
        head = copy(names.head, of: table.head)
    }
}
