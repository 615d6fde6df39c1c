import Tensors

/// Every tensor of a network: its name by its family's table, its shape by its configuration.
public struct NetworkTensors: Sendable {
    private let shape: ModelConfiguration
    private let names: TensorNames
    private let attention: AttentionKind

    /// The tensors of a network of this shape.
    public init(_ configuration: ModelConfiguration) {
        shape = configuration
        names = configuration.architecture.tensorNames
        attention = configuration.architecture.attention
    }

    /// `[vocabulary, hidden]`.
    public var embedding: NetworkTensor { table(names.embedding) }

    /// `[hidden]`.
    var finalNorm: NetworkTensor {
        NetworkTensor(name: names.finalNorm, shape: [shape.hiddenSize], role: .norm)
    }

    /// `[vocabulary, hidden]`; the embedding where the two are one.
    public var head: NetworkTensor {
        table(shape.tiesEmbeddings ? names.embedding : names.head)
    }

    private func table(_ name: String) -> NetworkTensor {
        NetworkTensor(name: name, shape: [shape.vocabularySize, shape.hiddenSize], role: .wide)
    }

    /// Before every name of a block.
    func prefix(layer: Int) -> String {
        TensorNames.numbered(names.block, shape.originalLayers?[layer] ?? layer)
    }

    /// Before a block's attention, `[hidden]`.
    func inputNorm(layer: Int) -> NetworkTensor { norm(names.inputNorm, layer) }

    /// Before a block's feed-forward network, `[hidden]`.
    func feedForwardNorm(layer: Int) -> NetworkTensor { norm(names.feedForwardNorm, layer) }

    private func norm(_ name: String, _ layer: Int) -> NetworkTensor {
        NetworkTensor(
            name: prefix(layer: layer) + name, shape: [shape.hiddenSize], role: .norm)
    }

    /// `[experts, hidden]`.
    func gate(layer: Int) -> NetworkTensor {
        NetworkTensor(
            name: prefix(layer: layer) + names.gate,
            shape: [shape.routedExpertCount, shape.hiddenSize], role: .wide)
    }

    /// `[experts]`; nil where the gate has none.
    func gateBias(layer: Int) -> NetworkTensor? {
        guard shape.topKMethod == .biased else { return nil }
        // One that is a part of the logits is stored like those of other matrices.
        return NetworkTensor(
            name: prefix(layer: layer) + names.gateBias, shape: [shape.routedExpertCount],
            role: shape.gateRule.score == .softmaxOfChosen ? .offset : .bias)
    }

    /// The network of a dense block.
    func dense(layer: Int) -> FeedForwardTensors {
        network(names.dense, layer, shape.intermediateSize)
    }

    /// The fused shared experts; nil without any.
    func sharedExperts(layer: Int) -> FeedForwardTensors? {
        let width = shape.sharedIntermediateSize
        return width > 0 ? network(names.sharedExperts, layer, width) : nil
    }

    /// One routed expert.
    func routedExpert(_ expert: Int, layer: Int) -> FeedForwardTensors {
        network(
            TensorNames.numbered(names.routedExpert, expert), layer, shape.expertIntermediateSize)
    }

    /// The routed experts of a block where tensors of all of them hold them; else nil.
    func fusedExperts(layer: Int) -> FusedExpertTensors? {
        names.fused.map {
            FusedExpertTensors($0, prefix: prefix(layer: layer) + names.routedExpert, shape)
        }
    }

    /// What the routed experts have in place of silu(gate) * up; nil for that.
    var expertActivation: ClampedSwiGLU? { shape.expertActivation }

    private func network(_ name: String, _ layer: Int, _ width: Int) -> FeedForwardTensors {
        FeedForwardTensors(
            names.network, prefix: prefix(layer: layer) + name, hidden: shape.hiddenSize,
            intermediate: width)
    }

    /// What an MTP block has beside a block's tensors.
    func mtp(layer: Int) -> MTPTensors {
        MTPTensors(
            names, prefix: prefix(layer: layer), hidden: shape.hiddenSize,
            vocabulary: shape.vocabularySize)
    }
}

extension NetworkTensors {
    /// All of them, in the order of the blocks.
    public var all: [NetworkTensor] {
        var tensors = [embedding]
        for layer in 0 ..< shape.layerCount { tensors += block(layer) }
        for layer in mtpLayers { tensors += mtpBlock(layer) }
        return tensors + (shape.tiesEmbeddings ? [finalNorm] : [finalNorm, head])
    }

    /// Those of the MTP blocks.
    var ofMTP: [NetworkTensor] { mtpLayers.flatMap(mtpBlock) }

    private var mtpLayers: Range<Int> {
        shape.layerCount ..< shape.layerCount + shape.mtpLayerCount
    }

    private func mtpBlock(_ layer: Int) -> [NetworkTensor] {
        let own = mtp(layer: layer)
        return [own.embedding, own.embeddingNorm, own.hiddenNorm, own.projection] + block(layer)
            + [own.headNorm, own.head]
    }

    /// Those of a block's attention.
    func attention(layer: Int) -> [NetworkTensor] {
        attention.tensors(of: shape, layer: layer, prefix: prefix(layer: layer))
    }

    private func block(_ layer: Int) -> [NetworkTensor] {
        [inputNorm(layer: layer)] + attention(layer: layer)
            + [feedForwardNorm(layer: layer)] + feedForward(layer)
    }

    private func feedForward(_ layer: Int) -> [NetworkTensor] {
        guard shape.hasExperts(layer: layer) else { return dense(layer: layer).all }
        var tensors = [gate(layer: layer)]
        if let bias = gateBias(layer: layer) { tensors.append(bias) }
        if let fused = fusedExperts(layer: layer) { return tensors + fused.all }
        for expert in 0 ..< shape.routedExpertCount {
            tensors += routedExpert(expert, layer: layer).all
        }
        return tensors + (sharedExperts(layer: layer)?.all ?? [])
    }
}
