import Checkpoints
import Tensors
import Topology

/// A transformer block whose matrices are asked for but not yet packed.
struct PendingLayer {
    private let inputNorm: Tensor
    private let attention: () -> any AttentionLayer
    private let feedForwardNorm: Tensor
    private let feedForward: FeedForward

    private enum FeedForward {
        case dense(PendingExpert)
        case experts(
            gate: WeightLoader.Slot, bias: Tensor?, shared: PendingExpert?,
            routed: [PendingExpert])
    }

    /// - Parameters:
    ///   - layer: The number in the checkpoint; MTP blocks follow the main ones.
    ///   - experts: The logical experts to load, in the order of this rank's copies.
    init(
        _ context: AttentionContext, layer: Int, experts: [ExpertID], from loader: WeightLoader
    ) throws {
        let shape = context.configuration
        let tensors = NetworkTensors(shape)
        inputNorm = try loader.vector(tensors.inputNorm(layer: layer))
        attention = try shape.architecture.attention.request(
            context, layer: layer, prefix: tensors.prefix(layer: layer), from: loader)
        feedForwardNorm = try loader.vector(tensors.feedForwardNorm(layer: layer))
        guard shape.hasExperts(layer: layer) else {
            feedForward = .dense(try PendingExpert(tensors.dense(layer: layer), from: loader))
            return
        }
        let routed = try experts.map {
            try PendingExpert(tensors, $0, layer: layer, from: loader)
        }
        try PendingExpert.checkFormats(routed)
        feedForward = .experts(
            gate: try loader.matrix(tensors.gate(layer: layer)),
            bias: try tensors.gateBias(layer: layer).map(loader.vector),
            shared: try tensors.sharedExperts(layer: layer).map {
                try PendingExpert($0, from: loader)
            },
            routed: routed)
    }

    /// The block with its packed matrices.
    var weights: LayerWeights {
        let loaded: LayerWeights.FeedForward =
            switch feedForward {
            case .dense(let expert): .dense(expert.weights)
            case .experts(let gate, let bias, let shared, let routed):
                .experts(
                    ExpertLayerWeights(
                        gate: gate.weight, bias: bias, shared: shared?.weights,
                        routed: routed.map(\.weights)))
            }
        return LayerWeights(
            inputNorm: inputNorm, attention: attention(), feedForwardNorm: feedForwardNorm,
            feedForward: loaded)
    }
}

/// A multi-token-prediction block.
struct PendingMTP {
    private let embeddingNorm: Tensor
    private let hiddenNorm: Tensor
    private let projection: WeightLoader.Slot
    private let layer: PendingLayer
    private let headNorm: Tensor

    init(
        _ context: AttentionContext, layer: Int, experts: [ExpertID], from loader: WeightLoader
    ) throws {
        let tensors = NetworkTensors(context.configuration).mtp(layer: layer)
        embeddingNorm = try loader.vector(tensors.embeddingNorm)
        hiddenNorm = try loader.vector(tensors.hiddenNorm)
        projection = try loader.matrix(tensors.projection)
        self.layer = try PendingLayer(context, layer: layer, experts: experts, from: loader)
        headNorm = try loader.vector(tensors.headNorm)
    }

    var weights: MTPWeights {
        MTPWeights(
            embeddingNorm: embeddingNorm, hiddenNorm: hiddenNorm, projection: projection.weight,
            layer: layer.weights, headNorm: headNorm)
    }
}

extension WeightLoader {
    /// Asks for a whole matrix.
    func matrix(_ tensor: NetworkTensor) throws -> Slot {
        try matrix(tensor.name, outputs: tensor.shape[0], inputs: tensor.shape[1])
    }

    /// Asks for several parts of one matrix, which is read once.
    func parts(
        _ tensor: NetworkTensor, _ cuts: [(rows: Range<Int>?, transposed: Bool)]
    ) throws -> [Slot] {
        try parts(tensor.name, outputs: tensor.shape[0], inputs: tensor.shape[1], cuts)
    }

    /// Reads a small tensor now, widened to `[1, count]`.
    func vector(_ tensor: NetworkTensor) throws -> Tensor {
        try vector(tensor.name, count: tensor.shape[0])
    }
}
