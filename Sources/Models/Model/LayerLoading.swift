import Checkpoints
import Tensors
import Topology

/// A transformer block whose matrices are asked for but not yet packed.
///
/// Names are those of the released checkpoints; shapes follow from the configuration.
struct PendingLayer {
    private let attention: PendingAttention
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
        _ configuration: ModelConfiguration, layer: Int, experts: [ExpertID],
        from loader: WeightLoader
    ) throws {
        let prefix = "model.layers.\(layer)."
        let hidden = configuration.hiddenSize
        attention = try PendingAttention(configuration, prefix: prefix, from: loader)
        feedForwardNorm = try loader.vector(
            prefix + "post_attention_layernorm.weight", count: hidden)
        guard configuration.hasExperts(layer: layer) else {
            feedForward = .dense(
                try PendingExpert(
                    prefix + "mlp.", hidden: hidden,
                    intermediate: configuration.intermediateSize, from: loader))
            return
        }
        let gate = try loader.matrix(
            prefix + "mlp.gate.weight", outputs: configuration.routedExpertCount, inputs: hidden)
        var bias: Tensor?
        if configuration.topKMethod == .biased {
            bias = try loader.vector(
                prefix + "mlp.gate.e_score_correction_bias",
                count: configuration.routedExpertCount)
        }
        var shared: PendingExpert?
        if configuration.sharedIntermediateSize > 0 {
            shared = try PendingExpert(
                prefix + "mlp.shared_experts.", hidden: hidden,
                intermediate: configuration.sharedIntermediateSize, from: loader)
        }
        let routed = try experts.map { expert in
            try PendingExpert(
                prefix + "mlp.experts.\(expert.rawValue).", hidden: hidden,
                intermediate: configuration.expertIntermediateSize, from: loader)
        }
        feedForward = .experts(gate: gate, bias: bias, shared: shared, routed: routed)
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
            attention: attention.weights, feedForwardNorm: feedForwardNorm, feedForward: loaded)
    }
}

/// The three matrices of a feed-forward network.
struct PendingExpert {
    private let gate: WeightLoader.Slot
    private let up: WeightLoader.Slot
    private let down: WeightLoader.Slot

    init(_ prefix: String, hidden: Int, intermediate: Int, from loader: WeightLoader) throws {
        gate = try loader.matrix(
            prefix + "gate_proj.weight", outputs: intermediate, inputs: hidden)
        up = try loader.matrix(prefix + "up_proj.weight", outputs: intermediate, inputs: hidden)
        down = try loader.matrix(
            prefix + "down_proj.weight", outputs: hidden, inputs: intermediate)
    }

    var weights: ExpertWeights {
        ExpertWeights(gate: gate.weight, up: up.weight, down: down.weight)
    }
}

/// The matrices of latent attention.
struct PendingAttention {
    private let inputNorm: Tensor
    private let queryDown: (slot: WeightLoader.Slot, norm: Tensor)?
    private let query: WeightLoader.Slot
    private let latentDown: WeightLoader.Slot
    private let latentNorm: Tensor
    private let up: [WeightLoader.Slot]
    private let output: WeightLoader.Slot

    init(_ configuration: ModelConfiguration, prefix: String, from loader: WeightLoader) throws {
        let hidden = configuration.hiddenSize
        let heads = configuration.headCount
        let name = prefix + "self_attn."
        inputNorm = try loader.vector(prefix + "input_layernorm.weight", count: hidden)
        if let size = configuration.queryLatentSize {
            queryDown = (
                try loader.matrix(name + "q_a_proj.weight", outputs: size, inputs: hidden),
                try loader.vector(name + "q_a_layernorm.weight", count: size)
            )
            query = try loader.matrix(
                name + "q_b_proj.weight", outputs: heads * configuration.queryHeadSize,
                inputs: size)
        } else {
            queryDown = nil
            query = try loader.matrix(
                name + "q_proj.weight", outputs: heads * configuration.queryHeadSize,
                inputs: hidden)
        }
        latentDown = try loader.matrix(
            name + "kv_a_proj_with_mqa.weight", outputs: configuration.cacheWidth, inputs: hidden)
        latentNorm = try loader.vector(
            name + "kv_a_layernorm.weight", count: configuration.latentSize)
        // Rows of kv_b_proj, per head: the keys' up-projection, then the values'.
        let (nope, value) = (configuration.nopeHeadSize, configuration.valueHeadSize)
        let keys = (0 ..< heads).map { head in
            let first = head * (nope + value)
            return (rows: Range<Int>?(first ..< first + nope), transposed: true)
        }
        let values = (0 ..< heads).map { head in
            let first = head * (nope + value) + nope
            return (rows: Range<Int>?(first ..< first + value), transposed: false)
        }
        up = try loader.parts(
            name + "kv_b_proj.weight", outputs: heads * (nope + value),
            inputs: configuration.latentSize, keys + values)
        output = try loader.matrix(
            name + "o_proj.weight", outputs: hidden, inputs: heads * value)
    }

    var weights: AttentionWeights {
        let heads = up.count / 2
        return AttentionWeights(
            inputNorm: inputNorm, queryDown: queryDown.map { ($0.slot.weight, $0.norm) },
            query: query.weight, latentDown: latentDown.weight, latentNorm: latentNorm,
            keyUp: up[..<heads].map(\.weight), valueUp: up[heads...].map(\.weight),
            output: output.weight)
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
        _ configuration: ModelConfiguration, index: Int, experts: [ExpertID],
        from loader: WeightLoader
    ) throws {
        let number = configuration.layerCount + index
        let prefix = "model.layers.\(number)."
        let hidden = configuration.hiddenSize
        embeddingNorm = try loader.vector(prefix + "enorm.weight", count: hidden)
        hiddenNorm = try loader.vector(prefix + "hnorm.weight", count: hidden)
        projection = try loader.matrix(
            prefix + "eh_proj.weight", outputs: hidden, inputs: 2 * hidden)
        layer = try PendingLayer(configuration, layer: number, experts: experts, from: loader)
        headNorm = try loader.vector(prefix + "shared_head.norm.weight", count: hidden)
    }

    var weights: MTPWeights {
        MTPWeights(
            embeddingNorm: embeddingNorm, hiddenNorm: hiddenNorm, projection: projection.weight,
            layer: layer.weights, headNorm: headNorm)
    }
}
