import Checkpoints

/// Every tensor of a checkpoint of some shape, in the order of its blocks.
struct CheckpointLayout {
    /// What a tensor is, which decides how it is stored and how it starts.
    enum Role: Sendable {
        /// A norm's weight.
        case norm
        /// The gate's selection bias, Float32 in every release.
        case bias
        /// A matrix that every rank holds.
        case matrix
        /// A matrix of the routed expert of this number.
        case expert(Int)
    }

    /// A tensor of the layout.
    struct Planned: Sendable {
        var name: String
        var shape: [Int]
        var role: Role
        /// The block, nil for embedding, last norm and head.
        var layer: Int?

        var elementCount: Int { shape.reduce(1, *) }
    }

    private(set) var tensors: [Planned] = []
    private let configuration: ModelConfiguration

    init(_ configuration: ModelConfiguration) {
        self.configuration = configuration
        let (vocabulary, hidden) = (configuration.vocabularySize, configuration.hiddenSize)
        add("model.embed_tokens.weight", [vocabulary, hidden], .matrix, nil)
        for layer in 0 ..< configuration.layerCount { addBlock(layer) }
        for index in 0 ..< configuration.mtpLayerCount {
            let layer = configuration.layerCount + index
            let prefix = "model.layers.\(layer)."
            add(prefix + "embed_tokens.weight", [vocabulary, hidden], .matrix, layer)
            add(prefix + "enorm.weight", [hidden], .norm, layer)
            add(prefix + "hnorm.weight", [hidden], .norm, layer)
            add(prefix + "eh_proj.weight", [hidden, 2 * hidden], .matrix, layer)
            addBlock(layer)
            add(prefix + "shared_head.norm.weight", [hidden], .norm, layer)
            add(prefix + "shared_head.head.weight", [vocabulary, hidden], .matrix, layer)
        }
        add("model.norm.weight", [hidden], .norm, nil)
        add("lm_head.weight", [vocabulary, hidden], .matrix, nil)
    }

    private mutating func add(_ name: String, _ shape: [Int], _ role: Role, _ layer: Int?) {
        tensors.append(Planned(name: name, shape: shape, role: role, layer: layer))
    }

    private mutating func addBlock(_ layer: Int) {
        let c = configuration
        let prefix = "model.layers.\(layer)."
        let attention = prefix + "self_attn."
        let (hidden, heads) = (c.hiddenSize, c.headCount)
        let queryWidth = heads * c.queryHeadSize
        add(prefix + "input_layernorm.weight", [hidden], .norm, layer)
        if let size = c.queryLatentSize {
            add(attention + "q_a_proj.weight", [size, hidden], .matrix, layer)
            add(attention + "q_a_layernorm.weight", [size], .norm, layer)
            add(attention + "q_b_proj.weight", [queryWidth, size], .matrix, layer)
        } else {
            add(attention + "q_proj.weight", [queryWidth, hidden], .matrix, layer)
        }
        add(attention + "kv_a_proj_with_mqa.weight", [c.cacheWidth, hidden], .matrix, layer)
        add(attention + "kv_a_layernorm.weight", [c.latentSize], .norm, layer)
        let upWidth = heads * (c.nopeHeadSize + c.valueHeadSize)
        add(attention + "kv_b_proj.weight", [upWidth, c.latentSize], .matrix, layer)
        add(attention + "o_proj.weight", [hidden, heads * c.valueHeadSize], .matrix, layer)
        add(prefix + "post_attention_layernorm.weight", [hidden], .norm, layer)
        guard c.hasExperts(layer: layer) else {
            addNetwork(prefix + "mlp.", c.intermediateSize, .matrix, layer)
            return
        }
        add(prefix + "mlp.gate.weight", [c.routedExpertCount, hidden], .matrix, layer)
        if c.topKMethod == .biased {
            let name = prefix + "mlp.gate.e_score_correction_bias"
            add(name, [c.routedExpertCount], .bias, layer)
        }
        for expert in 0 ..< c.routedExpertCount {
            let width = c.expertIntermediateSize
            addNetwork(prefix + "mlp.experts.\(expert).", width, .expert(expert), layer)
        }
        if c.sharedIntermediateSize > 0 {
            addNetwork(prefix + "mlp.shared_experts.", c.sharedIntermediateSize, .matrix, layer)
        }
    }

    private mutating func addNetwork(_ prefix: String, _ width: Int, _ role: Role, _ layer: Int) {
        let hidden = configuration.hiddenSize
        add(prefix + "gate_proj.weight", [width, hidden], role, layer)
        add(prefix + "up_proj.weight", [width, hidden], role, layer)
        add(prefix + "down_proj.weight", [hidden, width], role, layer)
    }

    /// The tensors as a file stores them.
    ///
    /// - Parameter isFloat8: Whether projections are e4m3 with scales, not bfloat16.
    func stored(_ tensor: Planned, isFloat8: Bool) -> [OutputTensor] {
        if case .bias = tensor.role {
            return [OutputTensor(name: tensor.name, type: .float32, shape: tensor.shape)]
        }
        guard isFloat8, FormatConversion.isQuantised(tensor.name) else {
            return [OutputTensor(name: tensor.name, type: .bfloat16, shape: tensor.shape)]
        }
        return [
            OutputTensor(name: tensor.name, type: .float8e4m3, shape: tensor.shape),
            OutputTensor(
                name: tensor.name + "_scale_inv", type: .float32,
                shape: FormatConversion.scaleShape(tensor.shape)),
        ]
    }
}
