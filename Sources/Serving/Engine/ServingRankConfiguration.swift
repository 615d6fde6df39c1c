public import Checkpoints
import Foundation
public import Grammar
import Models
public import Tensors
public import Topology
public import Transport

/// What one rank serves, and with how much of its machine.
public struct ServingRankConfiguration: Sendable {
    /// The checkpoint's folder.
    public var directory: String
    /// How activations enter matrix products; nil follows the checkpoint.
    public var compute: Compute?
    /// How latents are stored; nil follows the compute mode.
    public var cacheFormat: EntryFormat?
    /// Tokens whose latents fit the cache.
    public var cacheTokens = 32_768
    /// Where computed prefixes outlive the process; nil for nowhere.
    public var prefixes: PrefixSettings?
    /// Told what goes wrong beside the requests; any thread may call it.
    public var warn: @Sendable (String) -> Void = { _ in }
    /// Positions of a block.
    public var blockTokens = BlockCache.defaultBlockTokens
    /// The most positions of a text; nil takes the model's.
    public var contextTokens: Int?
    /// Compute threads.
    public var threads = 1
    /// Cores that the ranks of a node share.
    ///
    /// Ranks beyond them get requests when the others are full, and share no product.
    public var cores = ProcessInfo.processInfo.activeProcessorCount
    /// Copies of routed experts beyond one of each, per layer over all ranks.
    public var redundantExperts = 0
    /// How the engine works.
    public var engine = EngineConfiguration()
    /// How long a step may wait for a rank.
    public var stepLimit = Duration.seconds(30)
    /// How long the first step of an epoch may wait for a rank that reads experts; nil is
    /// `stepLimit`.
    public var recoveryLimit: Duration?
    /// How long a rank waits for the system to take back what a lost process held.
    public var releaseLimit = Duration.seconds(5)
    /// Bytes of memory that this rank and those of its machine may have beside what they hold; nil
    /// where nobody knows.
    var freeMemory: @Sendable () -> Int? = { MachineMemory.free() }
    /// Makes the fabric of a prefill rank and a decode rank, through the exchange that it is given;
    /// nil for a rank that computes its own prompts. Its errors call ranks as the job does.
    public var makeLink: (@Sendable (LinkOrder, any AddressExchange) throws -> any Fabric)?
    /// Where weights come from that the folder does not hold; nil where it holds all.
    public var weights: (any PieceSource)?
    /// Grammars that were compiled in this process: ranks that are given the same share them.
    public var grammars = CompiledGrammars()

    /// A rank that serves this checkpoint.
    public init(directory: String) { self.directory = directory }

    /// Checks what can be known before anything starts.
    ///
    /// - Parameters:
    ///   - ranks: How many ranks share the experts.
    ///   - ranksHere: How many of these settings share the memory of this machine; nil for all.
    public func validate(ranks: Int, ranksHere: Int? = nil) throws {
        try engine.validate()
        try prefixes?.validate()
        try Setting.check("threads", threads, 1, 256)
        try Setting.check("cacheTokens", cacheTokens, 1, 1 << 32)
        let shape = try ModelConfiguration.load(directory: directory)
        _ = try shape.expertMap(rankCount: ranks, redundantExperts: redundantExperts)
        if let contextTokens, contextTokens > shape.positionLimit {
            throw ServingError.configuration(
                message: "contextTokens is \(contextTokens): the model has \(shape.positionLimit)"
                    + " positions (max_position_embeddings)")
        }
        try checkMemory(shape, ranks: ranksHere ?? ranks)
    }

    /// Where the experts of each layer of a model are at the start of a job, layer by layer, as its
    /// ranks count the layers: without MTP blocks that the folder does not hold.
    ///
    /// - Throws: `PlacementError` where the ranks or copies are too many for the model.
    public static func expertPlacements(
        directory: String, ranks: Int, redundantExperts: Int
    ) throws -> [ExpertPlacement] {
        let announced = try ModelConfiguration.load(directory: directory)
        // What is wrong with the shards, a rank says by its name.
        let found = try? ModelFolder(directory: directory).configuration
        return try (found ?? announced).expertPlacements(
            rankCount: ranks, redundantExperts: redundantExperts)
    }

    /// Groups that the routed experts of a model make for its gate (`n_group`).
    ///
    /// - Throws: What is wrong with the model's `config.json`.
    public static func expertGroupCount(directory: String) throws -> Int {
        try ModelConfiguration.load(directory: directory).groupCount
    }

    /// The latent cache may not be larger than the machine's memory.
    ///
    /// It is reserved at the start and filled later, so that the system would refuse it too late.
    private func checkMemory(_ shape: ModelConfiguration, ranks: Int) throws {
        let tokenBytes = BlockCache.bytesPerToken(of: shape, format: cacheFormat ?? .bfloat16)
        let bytes = blockCount * blockTokens * tokenBytes * ranks
        let memory = MachineMemory.byteCount()
        guard bytes <= memory else {
            let each = ranks == 1 ? "" : " on each of \(ranks) ranks"
            throw ServingError.configuration(
                message: "cacheTokens is \(cacheTokens): at \(tokenBytes) bytes a token\(each) they"
                    + " need \(bytes) bytes, and this machine has \(memory)"
                    + " (MemTotal, or its control group's limit)")
        }
    }

    /// How long the ranks of an epoch wait for missing memory, less than for each other.
    var memoryLimit: Duration {
        min(releaseLimit, min(stepLimit, recoveryLimit ?? stepLimit) / 2)
    }

    /// How long a rank waits for the others of an epoch that some of them are still about to join.
    var longestMeeting: Duration { max(stepLimit, recoveryLimit ?? stepLimit) }

    /// Blocks of the latent cache.
    var blockCount: Int { max(1, (cacheTokens + blockTokens - 1) / blockTokens) }

    /// How a model of this shape is loaded.
    func modelOptions(of shape: ModelConfiguration, compute: Compute) -> ModelOptions {
        var options = ModelOptions(compute: compute, contextLimit: contextTokens)
        options.copiesDraftExperts = engine.copiesDraftExperts(of: shape)
        options.sharedHeadBytes = engine.sharedHeadBytes
        options.sharedRows = engine.sharedRows
        // Ranks without a core of their own would wait for each other in every shared product.
        options.nodeSharers = cores / max(1, threads)
        return options
    }
}
