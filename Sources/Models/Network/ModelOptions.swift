public import Collectives
public import Tensors
public import Topology

/// How a model is run, where the checkpoint leaves a choice.
public struct ModelOptions: Sendable {
    /// How activations enter matrix products; nil takes float32 for float32 checkpoints and
    /// bfloat16 for the others.
    public var compute: Compute?
    /// The most positions a sequence may have; nil takes the model's.
    public var contextLimit: Int?
    /// Whether MTP blocks are loaded (default true).
    package var loadsMTP = true
    /// Whether every rank holds all routed experts of the MTP block, so that drafting needs no
    /// other rank (default false).
    public var copiesDraftExperts = false
    /// Bytes of the head in bf16 from which the ranks of a node compute it together; below, an
    /// exchange costs more than reading all of it (20 us are a megabyte).
    public var sharedHeadBytes = 16 << 20
    /// Rows of one rank up to which the ranks of its node compute attention and dense products
    /// together (default 0: never).
    public var sharedRows = 0
    /// The most that `sharedRows` may be: attention works on tiles of no fewer rows.
    public static let sharedRowLimit = 32
    /// Ranks of a node up to which they compute together: those that have cores of their own, as
    /// others would wait for each other once more. The least that a rank of the node says counts.
    public var nodeSharers = Int.max

    /// The defaults.
    public init(compute: Compute? = nil, contextLimit: Int? = nil, loadsMTP: Bool = true) {
        self.compute = compute
        self.contextLimit = contextLimit
        self.loadsMTP = loadsMTP
    }
}

extension ModelConfiguration {
    /// Where the experts of every layer are when a job of this model starts, MTP blocks after the
    /// main layers.
    ///
    /// - Parameter redundantExperts: Copies beyond one of each expert, over all ranks.
    /// - Throws: `PlacementError`.
    public func expertPlacements(
        rankCount: Int, redundantExperts: Int = 0
    ) throws -> [ExpertPlacement] {
        let placement = try ExpertPlacement.contiguous(
            expertCount: routedExpertCount, rankCount: rankCount,
            redundantCount: redundantExperts)
        return Array(repeating: placement, count: layerCount + mtpLayerCount)
    }

    /// The map of a job that starts: all ranks live.
    ///
    /// - Throws: `PlacementError`.
    public func expertMap(rankCount: Int, redundantExperts: Int = 0) throws -> ExpertMap {
        try ExpertMap(
            placements: expertPlacements(
                rankCount: rankCount, redundantExperts: redundantExperts))
    }

    /// Bytes of the head in bf16.
    var headByteCount: Int { 2 * vocabularySize * hiddenSize }

    /// Bytes of the routed experts of the first MTP block in bf16; 0 without one.
    public var draftExpertByteCount: Int {
        guard mtpLayerCount > 0, hasExperts(layer: layerCount) else { return 0 }
        return 2 * 3 * routedExpertCount * expertIntermediateSize * hiddenSize
    }

    /// How tokens travel between ranks that share this model's experts.
    ///
    /// One output per token and expert goes home and is added there in the gate's order, so any
    /// number of ranks gives the same bits. With fp32 compute nothing is rounded on the way; with
    /// bf16 compute tokens travel as the experts will round them anyway.
    ///
    /// - Parameter limit: How long an exchange may wait for a rank.
    public func expertParallel(
        mode: ExpertParallelConfiguration.Mode = .lowLatency, maximumTokensPerRank: Int,
        compute: Compute, limit: Duration = .seconds(30)
    ) -> ExpertParallelConfiguration {
        var parallel = ExpertParallelConfiguration(
            mode: mode, hiddenSize: hiddenSize, topK: activeExpertCount,
            maximumTokensPerRank: maximumTokensPerRank, dispatchCodec: compute.codec,
            combineCodec: compute.codec, addsBeforeReturn: false)
        parallel.limit = limit
        return parallel
    }
}
