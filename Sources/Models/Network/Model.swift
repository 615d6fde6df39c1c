public import Checkpoints
public import Collectives
public import Tensors
public import Topology

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
    /// Bytes of the checkpoint that were packed, those of experts that moved here included.
    public internal(set) var weightByteCount: Int
    /// The files that the embedding stays in.
    public let checkpointPaths: [String]
    /// The ranks that share the routed experts, and where those are; nil where all are here.
    public internal(set) var shared: SharedExperts?
    /// The routed experts that are here, layer by layer, MTP blocks after the main ones.
    var held: [[ExpertID]]
    /// Counts what the gates choose where experts are shared.
    public let expertCounter: ExpertCounter
    /// Time this rank spent computing routed experts since loading.
    public internal(set) var expertTime = Duration.zero
    /// Keeps where the time of batches goes; nil keeps nothing.
    package var times: ForwardTimes?
    /// Stands for the other ranks of a group that is not there; nil where none is pretended.
    package var rankShare: RankShare?
    /// What all batches since loading had to read and compute.
    public internal(set) var work = WorkCount()
    public let pool: ThreadPool
    let attention: AttentionContext
    let gateRule: GateRule
    var layers: [LayerWeights]
    var mtp: [MTPWeights]
    /// Whether `draft` needs no other rank: only those that have something to draft call it.
    public let draftsAlone: Bool
    /// Sees the inside of a forward; for tests.
    var probe: ((ForwardProbe) -> Void)?
    let embedding: EmbeddingTable
    let finalNorm: Tensor
    /// The head, one matrix or the slices of the ranks of this node.
    var head: [Weight]
    /// The ranks that compute it together; nil if each does alone.
    var nodeHead: NodeProduct?
    /// The ranks that compute attention and dense products of a few rows together; nil if each
    /// does alone.
    var nodeProducts: TensorParallelGroup?
    let options: ModelOptions
    let workspaces: [Workspace]

    /// Packs the weights of a checkpoint.
    ///
    /// - Parameters:
    ///   - checkpoint: The opened folder.
    ///   - configuration: Its `config.json`.
    ///   - shared: The ranks that share the routed experts: only this rank's are read. Nil reads
    ///     all.
    ///   - share: Which experts to read where `shared` is not made yet: the map and this rank's
    ///     number in it. No step can be made before `share(_:from:)`.
    ///   - progress: Called now and then while matrices are packed.
    /// - Throws: `ModelError` naming the tensor that is missing or wrong, before any is packed.
    public convenience init(
        _ checkpoint: Checkpoint, configuration: ModelConfiguration,
        options: ModelOptions = ModelOptions(), pool: ThreadPool,
        shared: SharedExperts? = nil, share: (map: ExpertMap, rank: Rank)? = nil,
        progress: ((LoadProgress) -> Void)? = nil
    ) throws {
        var options = options
        options.compute = try options.compute ?? checkpoint.defaultCompute(of: configuration)
        try self.init(
            WeightLoader(checkpoint), embedding: EmbeddingTable(checkpoint, configuration),
            paths: checkpoint.shards.map(\.path), configuration: configuration,
            options: options, pool: pool, shared: shared,
            share: shared.map { ($0.map, $0.rank) } ?? share, progress: progress)
    }

    /// Packs random weights, of which nothing is on a disk.
    ///
    /// - Parameter share: Which experts to draw: the map and this rank's number in it. Nil draws
    ///   all; else no batch can be run before `rankShare` stands for the other ranks.
    package convenience init(
        _ random: RandomWeights, configuration: ModelConfiguration, options: ModelOptions,
        pool: ThreadPool, share: (map: ExpertMap, rank: Rank)?,
        progress: ((LoadProgress) -> Void)? = nil
    ) throws {
        try self.init(
            WeightLoader(random),
            embedding: EmbeddingTable(random, hiddenSize: configuration.hiddenSize), paths: [],
            configuration: configuration, options: options, pool: pool, shared: nil,
            share: share, progress: progress)
    }

    private init(
        _ loader: WeightLoader, embedding: EmbeddingTable, paths: [String],
        configuration: ModelConfiguration, options: ModelOptions, pool: ThreadPool,
        shared: SharedExperts?, share: (map: ExpertMap, rank: Rank)?,
        progress: ((LoadProgress) -> Void)?
    ) throws {
        let tensors = NetworkTensors(configuration)
        compute = options.compute ?? .bfloat16
        contextLimit = min(
            options.contextLimit ?? configuration.contextLimit, configuration.contextLimit)
        let attention = AttentionContext(
            configuration, positions: contextLimit, compute: compute, pool: pool)
        self.attention = attention
        let mtpCount = options.loadsMTP ? configuration.mtpLayerCount : 0
        draftsAlone = mtpCount > 0 && (share == nil || options.copiesDraftExperts)
        let drafting = draftsAlone ? nil : share
        let held = try (0 ..< configuration.layerCount + mtpCount).map {
            let isMTP = $0 >= configuration.layerCount
            return try Self.experts(configuration, isMTP ? drafting : share, layer: $0)
        }
        let pending = try PendingModel(
            attention, embedding: embedding, mtpCount: mtpCount, from: loader
        ) { held[$0] }
        self.held = held
        self.embedding = pending.embedding
        finalNorm = pending.finalNorm
        nodeHead = try Self.nodeHead(configuration, options, shared?.group)
        nodeProducts = try Self.nodeProducts(configuration, options, shared?.group)
        let pendingHead = try loader.parts(
            tensors.head, nodeHead?.slices.map { (rows: $0, transposed: false) } ?? [(nil, false)])
        weightByteCount = loader.byteCount
        checkpointPaths = paths
        try loader.load(pool: pool, progress: progress)

        self.configuration = configuration
        self.options = options
        self.pool = pool
        self.shared = shared
        layers = pending.layers.map(\.weights)
        mtp = pending.mtp.map(\.weights)
        head = pendingHead.map(\.weight)
        gateRule = configuration.gateRule
        expertCounter = ExpertCounter(configuration)
        let codec = compute.codec
        workspaces = [Workspace(configuration, codec), Workspace(configuration, codec)]
    }

    /// Bytes of the packed matrices that this rank holds.
    public var packedByteCount: Int {
        var count = WeightCount(head + mtp.map(\.projection))
        for layer in layers + mtp.map(\.layer) { count.add(layer.count) }
        return count.bytes
    }

    /// Bytes of the largest activation that a batch needed so far.
    public var largestActivationBytes: Int {
        (workspaces.map(\.largestByteCount) + [attention.scratch.largestByteCount]).max() ?? 0
    }

    /// Whether this model has an indexer, which chooses what attention reads.
    public var isSparse: Bool { configuration.indexer != nil }

    /// Whether sparse attention reads all entries all the same: another network, for a measurement
    /// of what the choice saves (default false).
    public var attendsDensely: Bool {
        get { attention.isDense }
        set { attention.isDense = newValue }
    }

    /// Rows of one rank up to which the ranks of its node may compute them together; 0 where they
    /// may not.
    public var sharedRows: Int { nodeProducts?.rowLimit ?? 0 }

    /// Whether this model can draft with an MTP block.
    public var canDraft: Bool { !mtp.isEmpty }

    /// The ranks of this node, if they are to compute the head together.
    static func nodeHead(
        _ configuration: ModelConfiguration, _ options: ModelOptions, _ group: ExpertParallelGroup?
    ) throws -> NodeProduct? {
        guard let group, configuration.headByteCount >= options.sharedHeadBytes else { return nil }
        let product = try NodeProduct(
            group, inputs: configuration.hiddenSize, outputs: configuration.vocabularySize,
            sharers: options.nodeSharers)
        return product.isShared ? product : nil
    }

    /// The ranks of this node, if they are to compute attention and dense products together.
    static func nodeProducts(
        _ configuration: ModelConfiguration, _ options: ModelOptions, _ group: ExpertParallelGroup?
    ) throws -> TensorParallelGroup? {
        guard let group, options.sharedRows > 0 else { return nil }
        let widths = configuration.sharedWidths
        let products = try TensorParallelGroup(
            group, inputs: widths.inputs, outputs: widths.outputs, rowLimit: options.sharedRows,
            sharers: options.nodeSharers)
        return products.isShared ? products : nil
    }

    /// The logical experts of a layer to load, in the order of this rank's copies.
    static func experts(
        _ configuration: ModelConfiguration, _ share: (map: ExpertMap, rank: Rank)?, layer: Int
    ) throws -> [ExpertID] {
        guard let (map, rank) = share else {
            return (0 ..< configuration.routedExpertCount).map { ExpertID(rawValue: $0) }
        }
        guard map.expertCount == configuration.routedExpertCount else {
            throw ModelError.request(
                "the expert map is for \(map.expertCount) experts; the model has "
                    + "\(configuration.routedExpertCount) "
                    + "(\(configuration.keyName(.routedExpertCount)))")
        }
        guard layer < map.layerCount else {
            throw ModelError.request(
                "the expert map is for \(map.layerCount) layers; layer \(layer) of the "
                    + "model is not one of them")
        }
        return map.experts(on: rank, layer: layer)
    }
}
