public import Checkpoints
import Collectives
import Foundation
import Grammar
import Language
import Models
import Tensors
import Topology
public import Transport

/// One rank that serves, assembled on a connected fabric: its share of the model, its latent cache,
/// its step barrier and its engine.
///
/// Every way to serve assembles its ranks here: worker processes, threads of one process, and
/// benchmarks. Equal settings therefore give equal ranks.
///
/// A rank belongs to the thread that makes it; `engine` may be used from any.
public final class ServingRank {
    /// What a rank is doing before it answers.
    public enum Phase: Sendable {
        /// It reads and packs weights; nil when it begins.
        case load(LoadProgress?)
        /// It performs a step whose answer nobody reads.
        case warmUp
        /// It takes requests.
        case ready
    }

    /// Takes requests, from any thread.
    public let engine: Engine
    /// What a router should know of the engine.
    public let capacity: EngineCapacity
    /// The model and its cache.
    public let network: DeepSeekNetwork
    /// Bytes of the checkpoint that this rank packed.
    public let weightByteCount: Int
    /// How the model was loaded.
    let options: ModelOptions
    private let tokenizer: Tokenizer?
    private let grammars: CompiledGrammars
    private let enter: (Phase) -> Void

    /// Makes the windows, loads the model and warms it up.
    ///
    /// Collective: all ranks of the fabric call it.
    ///
    /// - Parameters:
    ///   - note: Told what the folder holds or announces and this program does not run, line by
    ///     line, before the load; on the first rank alone.
    ///   - enter: Told each phase when it begins, on the calling thread.
    /// - Throws: What is wrong with the settings or the checkpoint, or `TransportError` naming the
    ///   rank that was lost.
    public init(
        _ configuration: ServingRankConfiguration, fabric: any Fabric,
        note: (String) -> Void = { _ in },
        enter: @escaping (Phase) -> Void = { _ in }
    ) throws {
        try configuration.engine.validate()
        self.enter = enter
        grammars = configuration.grammars
        let folder = try ModelFolder(directory: configuration.directory)
        let (checkpoint, shape) = (folder.checkpoint, folder.configuration)
        if fabric.rank == 0 { folder.notes.forEach(note) }
        let compute = try configuration.compute ?? checkpoint.defaultCompute(of: shape)
        options = configuration.modelOptions(of: shape, compute: compute)
        let barrier = try StepBarrier(fabric: fabric, limit: configuration.stepLimit)
        let map = try shape.expertMap(rankCount: fabric.rankCount)
        let shared = try Self.sharedExperts(map, configuration, shape, compute, fabric)
        enter(.load(nil))
        let model = try Model(
            checkpoint, configuration: shape, options: options,
            pool: ThreadPool(threads: configuration.threads), shared: shared
        ) { enter(.load($0)) }
        weightByteCount = model.weightByteCount
        network = DeepSeekNetwork(
            model: model,
            cache: BlockCache(
                configuration: shape,
                format: configuration.cacheFormat ?? (compute == .float32 ? .float32 : .bfloat16),
                blockCount: configuration.blockCount, blockTokens: configuration.blockTokens))
        tokenizer = try Self.tokenizer(configuration.directory)
        enter(.warmUp)
        try network.warmUp(atMost: configuration.engine.stepTokens)
        engine = Engine(barrier: barrier, map: map, configuration: configuration.engine)
        capacity = EngineCapacity(
            number: fabric.ranks.count {
                $0 < fabric.rank && fabric.node(of: $0) == fabric.node(of: fabric.rank)
            },
            threads: configuration.threads, cores: configuration.cores,
            runningLimit: configuration.engine.runningLimit)
    }

    /// Answers requests until the engine is stopped.
    ///
    /// - Parameter report: What happened, after each step.
    /// - Throws: `TransportError` naming the rank that was lost. All requests have failed by then.
    public func run(report: @Sendable ([EngineReport]) -> Void) throws {
        enter(.ready)
        try engine.run(network, tokenizer: tokenizer, grammars: grammars, report: report)
    }

    /// The ranks that share the routed experts; nil where one rank has all.
    private static func sharedExperts(
        _ map: ExpertMap, _ configuration: ServingRankConfiguration, _ shape: ModelConfiguration,
        _ compute: Compute, _ fabric: any Fabric
    ) throws -> SharedExperts? {
        guard fabric.rankCount > 1 else { return nil }
        let group = try ExpertParallelGroup(
            fabric: fabric,
            configuration: shape.expertParallel(
                maximumTokensPerRank: configuration.engine.stepTokens, compute: compute,
                limit: configuration.stepLimit),
            map: map)
        return SharedExperts(group, map)
    }

    /// The tokenizer of a checkpoint; nil for a checkpoint of weights alone, which still runs on
    /// token ids.
    private static func tokenizer(_ directory: String) throws -> Tokenizer? {
        let folder = URL(filePath: directory)
        let file = folder.appending(path: "tokenizer.json").path
        return FileManager.default.fileExists(atPath: file)
            ? try Tokenizer(directory: folder) : nil
    }
}
