/// The sizes of a network that decide what it costs, of families that Apus runs and others.
///
/// `ModelConfiguration` describes what Apus can run. A planner must also compare models that it
/// cannot run, so the shape has grouped-query attention too.
package struct ModelShape: Codable, Hashable, Sendable {
    /// What a token leaves in the cache, and what attention multiplies.
    package enum Attention: Codable, Hashable, Sendable {
        /// MLA: widths of the compressed query (nil where not compressed), of the latent, and of
        /// the parts of a head.
        case latent(query: Int?, latent: Int, rope: Int, nope: Int, value: Int)
        /// Grouped queries: heads that keep keys and values, and their width.
        case grouped(keyValueHeads: Int, headSize: Int, hasBias: Bool)
    }

    /// The indexer of sparse attention.
    package struct Indexer: Codable, Hashable, Sendable {
        /// Heads of a query.
        package var heads: Int
        /// Width of a head's query, and of the key that a token leaves in the cache.
        package var size: Int
        /// Tokens that it chooses.
        package var count: Int
        /// Blocks that run one; the others share a choice.
        package var layers: Int

        /// Parameters of one.
        func parameters(hidden: Int, query: Int) -> Int {
            heads * size * query + (size + heads) * hidden + 2 * size
        }
    }

    /// What it is called.
    package var name: String
    /// Width of the residual stream.
    package var hidden: Int
    /// Transformer blocks.
    package var layers: Int
    /// Blocks without experts; all blocks of a dense model.
    package var denseLayers: Int
    /// Attention heads.
    package var heads: Int
    /// Kind of attention.
    package var attention: Attention
    /// What chooses the tokens that attention reads; nil where it reads all.
    package var indexer: Indexer?
    /// Whether the output projection of grouped queries has a bias.
    package var hasOutputBias = false
    /// Width of a dense block's feed-forward network.
    package var denseWidth: Int
    /// Width of one routed expert.
    package var expertWidth = 0
    /// Routed experts of a block.
    package var routedExperts = 0
    /// Shared experts of a block.
    package var sharedExperts = 0
    /// Routed experts of a token, top-k.
    package var activeExperts = 0
    /// Groups of routed experts.
    package var expertGroups = 1
    /// Groups that a token may choose from.
    package var keptGroups = 1
    /// Whether the gate has a bias per expert.
    package var hasGateBias = false
    /// Rows of the embedding and of the head.
    package var vocabulary: Int

    /// Blocks with experts.
    package var expertLayers: Int { layers - denseLayers }
}

extension ModelShape {
    /// Parameters of one routed expert.
    package var expertParameters: Double { Double(3 * hidden * expertWidth) }

    /// Parameters of a block's attention and norms; the mean where some blocks have an indexer.
    package var attentionParameters: Double { coreParameters + indexerParameters }

    private var indexerParameters: Double {
        guard let indexer, case .latent(let query?, _, _, _, _) = attention else { return 0 }
        return indexerShare * Double(indexer.parameters(hidden: hidden, query: query))
    }

    /// The part of the blocks that run an indexer.
    private var indexerShare: Double { indexer.map { Double($0.layers) / Double(layers) } ?? 0 }

    private var coreParameters: Double {
        switch attention {
        case .latent(let query, let latent, let rope, let nope, let value):
            let queries = heads * (nope + rope)
            let down = query.map { $0 * hidden + $0 + queries * $0 } ?? queries * hidden
            return Double(
                down + (latent + rope) * hidden + latent + heads * (nope + value) * latent
                    + hidden * heads * value + 2 * hidden)
        case .grouped(let keyValueHeads, let headSize, let hasBias):
            let width = (heads + 2 * keyValueHeads) * headSize
            return Double(
                hidden * width + heads * headSize * hidden + 2 * hidden + (hasBias ? width : 0)
                    + (hasOutputBias ? hidden : 0))
        }
    }

    /// Parameters of the embedding, or of the head.
    package var tableParameters: Double { Double(vocabulary * hidden) }

    /// Parameters of a block's gate.
    package var gateParameters: Double {
        Double(routedExperts * hidden + (hasGateBias ? routedExperts : 0))
    }

    /// Parameters of a block's shared experts.
    package var sharedParameters: Double { Double(sharedExperts) * expertParameters }

    /// Parameters of a dense block's feed-forward network.
    package var denseParameters: Double { Double(3 * hidden * denseWidth) }

    /// Parameters that stand beside the tables, counting `experts` routed experts of a block.
    package func blockParameters(experts: Int) -> Double {
        Double(layers) * attentionParameters + Double(denseLayers) * denseParameters
            + Double(expertLayers)
            * (gateParameters + sharedParameters + Double(experts) * expertParameters)
            + Double(hidden)
    }

    /// All parameters of the main model.
    package var totalParameters: Double {
        blockParameters(experts: routedExperts) + 2 * tableParameters
    }

    /// Parameters that one token multiplies: the head's, not the embedding's, which is looked up.
    package var multipliedParameters: Double {
        blockParameters(experts: activeExperts) + tableParameters
    }

    /// Values that a token leaves in the cache of one block.
    package var cacheWidth: Int {
        switch attention {
        case .latent(_, let latent, let rope, _, _): latent + rope
        case .grouped(let keyValueHeads, let headSize, _): 2 * keyValueHeads * headSize
        }
    }

    /// Cache of a token in all blocks, the indexers' keys included.
    package func cacheBytesPerToken(bytesPerValue: Double = 2) -> Double {
        Double(cacheWidth * layers + (indexer.map { $0.size * $0.layers } ?? 0)) * bytesPerValue
    }

    /// Tokens of a context that attention reads.
    package func readTokens(context: Double) -> Double {
        min(context, indexer.map { Double($0.count) } ?? context)
    }

    /// Values that a block's indexer reads of a context, and multiply-adds it needs for a token;
    /// the mean where some blocks have none.
    package func indexWork(context: Double) -> (values: Double, operations: Double) {
        guard let indexer, context > Double(indexer.count) else { return (0, 0) }
        let values = context * Double(indexer.size) * indexerShare
        return (values, values * Double(indexer.heads))
    }

    /// What a token of a prompt needs on average: one after `p` tokens reads up to `count` of them,
    /// and its indexer scores all `p` where they are more.
    package func promptWork(sequence: Double) -> (read: Double, indexOperations: Double) {
        guard let indexer, sequence > Double(indexer.count) else { return (sequence / 2, 0) }
        let count = Double(indexer.count)
        let scored = (sequence * sequence - count * count) / (2 * sequence)
        return (
            count - count * count / (2 * sequence),
            scored * Double(indexer.size * indexer.heads) * indexerShare
        )
    }

    /// The share of the cache that one of `tp` ranks keeps: heads are shared out, a latent is not.
    package func cacheShare(tp: Int) -> Double {
        switch attention {
        case .latent: 1
        case .grouped(let keyValueHeads, _, _): 1 / Double(min(tp, keyValueHeads))
        }
    }

    /// Multiply-adds of attention's scores and sums over heads that stand expanded, per token and
    /// token of context.
    package var coreWidth: Int {
        switch attention {
        case .latent(_, _, let rope, let nope, let value): heads * (nope + rope + value)
        case .grouped(_, let headSize, _): heads * 2 * headSize
        }
    }

    /// Multiply-adds of attention that reads the cache as it is: absorbed for MLA.
    package var cachedCoreWidth: Int {
        switch attention {
        case .latent(_, let latent, let rope, _, _): heads * (2 * latent + rope)
        case .grouped(_, let headSize, _): heads * 2 * headSize
        }
    }

    /// Operations of a token's forward in a sequence of this length.
    package func forwardOperations(sequence: Int, isCausal: Bool = true) -> Double {
        let work = promptWork(sequence: Double(sequence))
        let core =
            isCausal
            ? work.read * Double(coreWidth) + work.indexOperations
            : Double(sequence) * Double(coreWidth)
        return 2 * multipliedParameters + 2 * core * Double(layers)
    }

    /// Operations of a token's training: the backward is twice the forward.
    package func trainingOperations(sequence: Int, isCausal: Bool = true) -> Double {
        3 * forwardOperations(sequence: sequence, isCausal: isCausal)
    }
}
