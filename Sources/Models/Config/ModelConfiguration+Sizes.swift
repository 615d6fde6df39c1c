import Tensors

extension ModelConfiguration {
    /// Width of a head's query or key: unrotated part, then rotated part.
    package var queryHeadSize: Int { nopeHeadSize + ropeHeadSize }

    /// Values kept per token and layer: the latent, then the shared rotated key.
    package var cacheWidth: Int { latentSize + ropeHeadSize }

    /// Width of the fused shared experts, 0 without any.
    package var sharedIntermediateSize: Int { sharedExpertCount * expertIntermediateSize }

    /// Whether a block has routed experts; MTP blocks, which come after the main ones, do.
    public func hasExperts(layer: Int) -> Bool {
        guard layer < layerCount else { return true }
        return expertLayers?[layer] ?? isExpertLayerByCounts(layer)
    }

    /// What `first_k_dense_replace` and `moe_layer_freq` say of a main block.
    func isExpertLayerByCounts(_ layer: Int) -> Bool {
        layer >= denseLayerCount && layer.isMultiple(of: expertLayerStride)
    }

    /// Positions that a text may have: of sparse attention without an indexer, no more than it
    /// would choose.
    public var contextLimit: Int {
        indexer == nil ? min(positionLimit, sparseIndexCount ?? positionLimit) : positionLimit
    }

    /// The key that says so.
    public var contextLimitKey: String {
        (contextLimit < positionLimit ? CodingKeys.sparseIndexCount : .positionLimit).rawValue
    }

    /// Which values of a query or key turn together.
    var rotaryPairs: RotaryPairs { rotatesNeighbours ? .neighbours : .halves }

    /// Main blocks that have routed experts.
    public var expertLayerCount: Int { (0 ..< layerCount).count { hasExperts(layer: $0) } }

    /// Factor on the attention logits, YaRN's magnitude included (DeepSeek-V3 report, §2.1.1)
    /// except for grouped queries, whose code leaves it to the rotation.
    package var attentionScale: Float {
        let stretch = keyValueHeadCount == nil ? yarn : nil
        let magnitude = stretch.map { $0.magnitude($0.mscaleAllDimensions) } ?? 1
        return Float(magnitude * magnitude / Double(queryHeadSize).squareRoot())
    }

    /// Parameters of one routed expert.
    package var expertParameterCount: Int {
        let biases =
            architecture.tensorNames.fused == nil ? 0 : 2 * expertIntermediateSize + hiddenSize
        return 3 * hiddenSize * expertIntermediateSize + biases
    }

    /// Parameters of one block's attention and norms.
    package var attentionParameterCount: Int {
        let queryWidth = headCount * queryHeadSize
        if let keyValueHeadCount {
            let width = queryWidth + 2 * keyValueHeadCount * queryHeadSize
            return hiddenSize * (width + queryWidth) + 2 * hiddenSize
                + (hasAttentionBias ? width + outputBiasWidth : 0) + queryKeyNormWidth
                + (hasSinks ? headCount : 0)
        }
        let query =
            queryLatentSize.map { $0 * hiddenSize + $0 + queryWidth * $0 }
            ?? queryWidth * hiddenSize
        return query + cacheWidth * hiddenSize + latentSize
            + headCount * (nopeHeadSize + valueHeadSize) * latentSize
            + hiddenSize * headCount * valueHeadSize + 2 * hiddenSize
    }

    /// Width of what is added to the output of grouped queries that have biases.
    private var outputBiasWidth: Int {
        guard case .grouped(let names) = architecture.attention else { return 0 }
        return names.hasOutputBias ? hiddenSize : 0
    }

    /// Whether each head of grouped queries has a sink.
    private var hasSinks: Bool {
        guard case .grouped(let names) = architecture.attention else { return false }
        return names.sinks != nil
    }

    /// Weights of the norms of queries and keys.
    private var queryKeyNormWidth: Int {
        switch queryKeyNorm {
        case nil: 0
        case .head: 2 * queryHeadSize
        case .allHeads: (headCount + (keyValueHeadCount ?? 0)) * queryHeadSize
        }
    }

    /// Parameters of one indexer; 0 for a family without one.
    var indexerParameterCount: Int {
        guard let indexer, let queryLatentSize else { return 0 }
        let (heads, size) = (indexer.headCount, indexer.headSize)
        return heads * size * queryLatentSize + (size + heads) * hiddenSize + 2 * size
    }

    /// Parameters of one block, counting only `experts` of its routed experts.
    package func parameterCount(layer: Int, experts: Int) -> Int {
        let attention =
            attentionParameterCount + (hasIndexer(layer: layer) ? indexerParameterCount : 0)
        guard hasExperts(layer: layer) else {
            return attention + 3 * hiddenSize * intermediateSize
        }
        let bias = topKMethod == .biased ? routedExpertCount : 0
        return attention + routedExpertCount * hiddenSize + bias
            + 3 * hiddenSize * sharedIntermediateSize + experts * expertParameterCount
    }

    /// Floating-point operations that one token of a training step needs: two per multiply-add, the
    /// backward twice the forward, nothing for what is computed again.
    ///
    /// A token attends to half of its sequence in the mean, all scores and sums counted over heads
    /// expanded from the latent. An embedding is looked up, not multiplied.
    ///
    /// - Parameter withMTP: Whether the MTP module is trained too: its block, its projection of
    ///   two hidden states, and the head once more.
    ///
    /// Source: Insights into DeepSeek-V3, Table 2, whose figures it gives without MTP.
    public func trainingOperationsPerToken(sequenceLength: Int, withMTP: Bool = true) -> Double {
        let core = Double(sequenceLength * headCount * (queryHeadSize + valueHeadSize))
        let table = vocabularySize * hiddenSize
        var forward =
            2 * Double(parameterCounts.activated - table) + Double(layerCount) * core
        if withMTP && mtpLayerCount > 0 {
            let module =
                parameterCount(layer: layerCount, experts: activeExpertCount)
                + 2 * hiddenSize * hiddenSize + table
            forward += 2 * Double(module) + core
        }
        return 3 * forward
    }

    /// Parameters of the main model: all, and those one token uses, embedding and head included.
    public var parameterCounts: (total: Int, activated: Int) {
        let ends = (tiesEmbeddings ? 1 : 2) * vocabularySize * hiddenSize + hiddenSize
        var (total, activated) = (ends, ends)
        for layer in 0 ..< layerCount {
            total += parameterCount(layer: layer, experts: routedExpertCount)
            activated += parameterCount(layer: layer, experts: activeExpertCount)
        }
        return (total, activated)
    }
}
