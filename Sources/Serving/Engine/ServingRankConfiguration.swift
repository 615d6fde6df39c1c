import Foundation
public import Grammar
import Models
public import Tensors
import Topology

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
    /// Positions of a block.
    public var blockTokens = BlockCache.defaultBlockTokens
    /// The most positions of a text; nil takes the model's.
    public var contextTokens: Int?
    /// Compute threads.
    public var threads = 1
    /// Cores that the ranks of a node share.
    ///
    /// Ranks beyond them get requests when the others are full, and share no head.
    public var cores = ProcessInfo.processInfo.activeProcessorCount
    /// How the engine works.
    public var engine = EngineConfiguration()
    /// How long a step may wait for a rank.
    public var stepLimit = Duration.seconds(30)
    /// Grammars that were compiled in this process: ranks that are given the same share them.
    public var grammars = CompiledGrammars()

    /// A rank that serves this checkpoint.
    public init(directory: String) { self.directory = directory }

    /// Checks what can be known before anything starts.
    ///
    /// - Parameter ranks: How many ranks share the experts.
    public func validate(ranks: Int) throws {
        try engine.validate()
        try Setting.check("threads", threads, 1, 256)
        try Setting.check("cacheTokens", cacheTokens, 1, 1 << 32)
        _ = try ModelConfiguration.load(directory: directory).expertMap(rankCount: ranks)
    }

    /// Blocks of the latent cache.
    var blockCount: Int { max(1, (cacheTokens + blockTokens - 1) / blockTokens) }

    /// How a model of this shape is loaded.
    func modelOptions(of shape: ModelConfiguration, compute: Compute) -> ModelOptions {
        var options = ModelOptions(compute: compute, contextLimit: contextTokens)
        options.copiesDraftExperts = engine.copiesDraftExperts(of: shape)
        options.sharedHeadBytes = engine.sharedHeadBytes
        // Ranks without a core of their own would wait for each other once more per step.
        options.headSharers = cores / max(1, threads)
        return options
    }
}
