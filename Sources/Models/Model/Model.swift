public import Checkpoints
public import Collectives
public import Tensors
import Topology

/// A DeepSeek-V3-style network whose weights are packed and ready.
///
/// A row's result depends on its own sequence alone, to the bit: not on the other rows of the
/// batch, nor on how its prompt was cut into chunks, nor on the number of threads.
///
/// A model belongs to one thread at a time; its work spreads over `pool`.
public final class Model {
    /// The shape of the network.
    public let configuration: ModelConfiguration
    /// How activations enter the matrix products.
    public let compute: Compute
    /// The most positions a sequence may have.
    public let contextLimit: Int
    /// Bytes of the checkpoint that were packed.
    public let weightByteCount: Int
    /// The files that the embedding stays in.
    public let checkpointPaths: [String]
    /// The ranks that share the routed experts, and where those are; nil where all are here.
    public let shared: SharedExperts?
    /// How often each routed expert was chosen here since loading, `[layer][expert]`, MTP blocks
    /// after the main ones: what balancing is computed from.
    public private(set) var expertLoads: [[Int]]
    /// Time this rank spent computing routed experts since loading.
    public internal(set) var expertTime = Duration.zero
    /// What all passes since loading had to read and compute.
    public internal(set) var work = WorkCount()
    public let pool: ThreadPool
    let attention: LatentAttention
    let gateRule: GateRule
    let localExperts: LocalExperts
    let layers: [LayerWeights]
    let mtp: [MTPWeights]
    /// Whether `draft` needs no other rank: only those that have something to draft call it.
    public let draftsAlone: Bool
    /// Looks inside forward passes; for tests.
    var probe: ((ForwardProbe) -> Void)?
    private let embedding: EmbeddingTable
    private let finalNorm: Tensor
    /// The head, one matrix or the slices of the ranks of this node.
    private let head: [Weight]
    /// The ranks that compute it together; nil if each does alone.
    private let nodeHead: NodeProduct?
    private let workspaces: [Workspace]

    /// Packs the weights of a checkpoint.
    ///
    /// - Parameters:
    ///   - checkpoint: The opened folder.
    ///   - configuration: Its `config.json`.
    ///   - shared: The ranks that share the routed experts: only this rank's are read. Nil reads
    ///     all.
    ///   - progress: Called now and then while matrices are packed.
    /// - Throws: `ModelError` naming the tensor that is missing or wrong, before any is packed.
    public init(
        _ checkpoint: Checkpoint, configuration: ModelConfiguration,
        options: ModelOptions = ModelOptions(), pool: ThreadPool,
        shared: SharedExperts? = nil, progress: ((LoadProgress) -> Void)? = nil
    ) throws {
        let loader = WeightLoader(checkpoint)
        let pendingLayers = try (0 ..< configuration.layerCount).map {
            try PendingLayer(
                configuration, layer: $0, experts: Self.experts(configuration, shared, layer: $0),
                from: loader)
        }
        let mtpCount = options.loadsMTP ? configuration.mtpLayerCount : 0
        draftsAlone = mtpCount > 0 && (shared == nil || options.copiesDraftExperts)
        let drafting = draftsAlone ? nil : shared
        let pendingMTP = try (0 ..< mtpCount).map {
            try PendingMTP(
                configuration, index: $0,
                experts: Self.experts(
                    configuration, drafting, layer: configuration.layerCount + $0),
                from: loader)
        }
        let vocabulary = configuration.vocabularySize
        embedding = try EmbeddingTable(checkpoint, configuration)
        finalNorm = try loader.vector("model.norm.weight", count: configuration.hiddenSize)
        nodeHead = try Self.nodeHead(configuration, options, shared?.group)
        let pendingHead = try loader.parts(
            "lm_head.weight", outputs: vocabulary, inputs: configuration.hiddenSize,
            nodeHead?.slices.map { (rows: $0, transposed: false) } ?? [(nil, false)])
        weightByteCount = loader.byteCount
        checkpointPaths = checkpoint.shards.map(\.path)
        try loader.load(pool: pool, progress: progress)

        self.configuration = configuration
        self.pool = pool
        self.shared = shared
        expertLoads = [[Int]](
            repeating: [Int](repeating: 0, count: configuration.routedExpertCount),
            count: configuration.layerCount + mtpCount)
        compute = try options.compute ?? checkpoint.defaultCompute()
        contextLimit = min(
            options.contextLimit ?? configuration.positionLimit, configuration.positionLimit)
        layers = pendingLayers.map(\.weights)
        mtp = pendingMTP.map(\.weights)
        head = pendingHead.map(\.weight)
        attention = LatentAttention(
            configuration, rotary: RotaryTables(configuration, positions: contextLimit),
            compute: compute, pool: pool)
        gateRule = configuration.gateRule
        localExperts = LocalExperts(
            topK: configuration.activeExpertCount, expertCount: configuration.routedExpertCount,
            codec: compute == .float32 ? .float32 : .bfloat16, pool: pool)
        workspaces = [Workspace(configuration), Workspace(configuration)]
    }

    /// Bytes of the packed matrices that this rank holds.
    public var packedByteCount: Int {
        var count = WeightCount(head + mtp.map(\.projection))
        for layer in layers + mtp.map(\.layer) { count.add(layer.count) }
        return count.bytes
    }

    /// Bytes of the largest activation that a pass needed so far.
    public var largestActivationBytes: Int { workspaces.map(\.largestByteCount).max() ?? 0 }

    /// Whether this model can draft with an MTP block.
    public var canDraft: Bool { !mtp.isEmpty }

    /// Runs chunks of any number of sequences through the network and caches their latents.
    ///
    /// - Parameters:
    ///   - keepsHidden: Whether the hidden states are wanted too, for an MTP block.
    public func forward(
        _ chunks: [SequenceChunk], cache: LatentCache, keepsHidden: Bool = false
    ) throws -> ForwardResult {
        let pass = ForwardPass(
            self, rows: try rows(chunks, cache), cache: cache, work: workspaces[0],
            shared: shared)
        pass.embed()
        probe?(.hidden(layer: -1, pass.stream))
        for (layer, weights) in layers.enumerated() {
            try pass.attend(weights, layer: layer)
            try pass.useSharedExperts(weights)
            try pass.useRoutedExperts(weights)
            try pass.finish(weights, layer: layer)
        }
        return try result(of: pass, norm: finalNorm, keepsHidden: keepsHidden)
    }

    /// Runs two batches at once, so that each computes while the other's tokens travel.
    ///
    /// Source: DeepSeek-V3 report, §3.4: the attention of one micro-batch overlaps the dispatch,
    /// experts and combine of the other.
    public func forward(
        _ first: [SequenceChunk], _ second: [SequenceChunk], cache: LatentCache,
        keepsHidden: Bool = false
    ) throws -> (ForwardResult, ForwardResult) {
        let a = ForwardPass(
            self, rows: try rows(first, cache), cache: cache, work: workspaces[0],
            shared: shared)
        let b = ForwardPass(
            self, rows: try rows(second, cache), cache: cache, work: workspaces[1],
            shared: shared)
        a.embed()
        b.embed()
        for (layer, weights) in layers.enumerated() {
            try a.attend(weights, layer: layer)
            if layer > 0 { try b.finish(layers[layer - 1], layer: layer - 1) }
            try b.attend(weights, layer: layer)
            try a.useRoutedExperts(weights)
            try a.useSharedExperts(weights)
            try b.useRoutedExperts(weights)
            try b.useSharedExperts(weights)
            try a.finish(weights, layer: layer)
        }
        let first = try result(of: a, norm: finalNorm, keepsHidden: keepsHidden)
        if let last = layers.last { try b.finish(last, layer: layers.count - 1) }
        return (first, try result(of: b, norm: finalNorm, keepsHidden: keepsHidden))
    }

    /// Drafts with the first MTP block: from hidden states and the tokens that follow them, the
    /// logits of the tokens after those.
    ///
    /// - Parameters:
    ///   - chunks: As for `forward`, but `tokens[i]` is the token at `position + i + 1`.
    ///   - hidden: `[rows, hidden]`: the main model's hidden state at `position + i`.
    public func draft(
        _ chunks: [SequenceChunk], hidden: Tensor, cache: LatentCache, keepsHidden: Bool = false
    ) throws -> ForwardResult {
        guard let block = mtp.first else {
            throw ModelError.request("the model has no MTP block (num_nextn_predict_layers)")
        }
        let pass = ForwardPass(
            self, rows: try rows(chunks, cache), cache: cache, work: workspaces[0],
            shared: draftsAlone ? nil : shared)
        let layer = configuration.layerCount
        join(pass, hidden, block)
        probe?(.hidden(layer: layer - 1, pass.stream))
        try pass.attend(block.layer, layer: layer)
        try pass.useSharedExperts(block.layer)
        try pass.useRoutedExperts(block.layer)
        try pass.finish(block.layer, layer: layer)
        return try result(of: pass, norm: block.headNorm, keepsHidden: keepsHidden)
    }

    /// The ranks of this node, if they are to compute the head together.
    private static func nodeHead(
        _ configuration: ModelConfiguration, _ options: ModelOptions, _ group: ExpertParallelGroup?
    ) throws -> NodeProduct? {
        guard let group, configuration.headByteCount >= options.sharedHeadBytes else { return nil }
        let product = try NodeProduct(
            group, inputs: configuration.hiddenSize, outputs: configuration.vocabularySize,
            sharers: options.headSharers)
        return product.isShared ? product : nil
    }

    /// The logical experts of a layer to load, in the order of this rank's copies.
    private static func experts(
        _ configuration: ModelConfiguration, _ shared: SharedExperts?, layer: Int
    ) throws -> [ExpertID] {
        guard let shared else {
            return (0 ..< configuration.routedExpertCount).map { ExpertID(rawValue: $0) }
        }
        guard shared.map.expertCount == configuration.routedExpertCount else {
            throw ModelError.request(
                "the expert map is for \(shared.map.expertCount) experts; the model has "
                    + "\(configuration.routedExpertCount) (n_routed_experts)")
        }
        guard layer < shared.map.layerCount else {
            throw ModelError.request(
                "the expert map is for \(shared.map.layerCount) layers; layer \(layer) of the "
                    + "model is not one of them")
        }
        return shared.experts(layer: layer)
    }

    /// Counts the choices of one batch.
    func count(_ chosen: [Int32], layer: Int) {
        for expert in chosen { expertLoads[layer][Int(expert)] += 1 }
    }

    /// Looks up embeddings.
    func embed(_ tokens: [Int], into rows: Tensor) { embedding.look(up: tokens, into: rows) }

    private func rows(_ chunks: [SequenceChunk], _ cache: LatentCache) throws -> BatchRows {
        let limits = BatchLimits(
            vocabularySize: configuration.vocabularySize, contextLimit: contextLimit,
            blockCount: cache.blockCount)
        return try BatchRows(chunks, limits, blockTokens: cache.blockTokens)
    }

    /// `eh_proj(concat[enorm(embedding), hnorm(hidden)])` into the residual stream.
    private func join(_ pass: ForwardPass, _ hidden: Tensor, _ block: MTPWeights) {
        let count = pass.rows.tokens.count
        precondition(hidden.rows == count, "\(hidden.rows) hidden states for \(count) tokens")
        guard count > 0 else { return }
        let size = configuration.hiddenSize
        let joined = Tensor(rows: count, columns: 2 * size)
        let half = Tensor(rows: count, columns: size)
        pass.embed()
        rmsNorm(
            pass.stream, weight: block.embeddingNorm, epsilon: configuration.normEpsilon,
            into: half, pool: pool)
        let whole = RotarySlices(first: 0)
        copySlices(half, whole, into: joined, whole, width: size, pool: pool)
        rmsNorm(
            hidden, weight: block.hiddenNorm, epsilon: configuration.normEpsilon, into: half,
            pool: pool)
        copySlices(
            half, whole, into: joined, RotarySlices(first: size), width: size, pool: pool)
        linear(joined, block.projection, into: pass.stream, compute: compute, pool: pool)
        work.add(WeightCount([block.projection]), rows: count)
    }

    /// Norms the stream and computes the logits that were asked for.
    private func result(
        of pass: ForwardPass, norm: Tensor, keepsHidden: Bool
    ) throws -> ForwardResult {
        let stream = pass.stream
        let size = configuration.hiddenSize
        let wanted = pass.rows.wanted
        let logits = Tensor(unfilledRows: wanted.count, columns: configuration.vocabularySize)
        let rows = keepsHidden ? Array(0 ..< stream.rows) : wanted
        let normed = Tensor(rows: rows.count, columns: size)
        var inputs = normed
        if !rows.isEmpty {
            gatherRows(stream, rows: rows, into: normed, pool: pool)
            rmsNorm(
                normed, weight: norm, epsilon: configuration.normEpsilon, into: normed, pool: pool)
        }
        if keepsHidden && wanted.count < rows.count {
            inputs = Tensor(rows: wanted.count, columns: size)
            if !wanted.isEmpty { gatherRows(normed, rows: wanted, into: inputs, pool: pool) }
        }
        try useHead(inputs, into: logits, with: pass.isCollective ? nodeHead : nil)
        return ForwardResult(logits: logits, hidden: keepsHidden ? normed : nil)
    }

    /// The logits of these rows; with a node's ranks also those of theirs, in part.
    private func useHead(
        _ inputs: Tensor, into logits: Tensor, with node: NodeProduct?
    ) throws {
        if let node {
            let isDone = try node.run(inputs, into: logits) { rows, part in
                linear(rows, head[node.place], into: part, compute: compute, pool: pool)
                work.add(WeightCount([head[node.place]]), rows: rows.rows)
            }
            if isDone { return }
        }
        guard inputs.rows > 0 else { return }
        var column = 0
        let parts = head.map { slice in
            defer { column += slice.outputs }
            return LinearPart(inputs, column: 0, slice, into: logits, column: column)
        }
        linear(parts, compute: compute, pool: pool)
        work.add(WeightCount(head), rows: inputs.rows)
    }
}
