public import Checkpoints
import Collectives
import Foundation
import Grammar
import Language
import Models
import Tensors
public import Topology
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
    public private(set) var capacity: EngineCapacity
    /// The model and its cache.
    public let network: DeepSeekNetwork
    /// Bytes of the checkpoint that this rank packed.
    public var weightByteCount: Int { network.weightByteCount }
    /// Gives how often the steps chose each routed expert since it was last called; any thread may
    /// call it.
    public var takeExpertCounts: @Sendable () -> ExpertCounts? {
        let counter = network.expertCounter
        return { counter.take() }
    }
    /// How the model was loaded.
    let options: ModelOptions
    /// Makes what this rank needs of an epoch.
    public let preparation: EpochPreparation
    private let folder: ModelFolder
    private let tokenizer: Tokenizer?
    private let grammars: CompiledGrammars
    private let kept: KeptPrefixes?
    /// The epoch whose experts this rank holds.
    private var held: GroupEpoch
    private let enter: (Phase) -> Void

    /// Makes the windows, loads the model and warms it up.
    ///
    /// Collective: all ranks of the fabric call it.
    ///
    /// - Parameters:
    ///   - fabric: The ranks that live in the epoch, in its order.
    ///   - epoch: Which ranks of the group they are; nil for all.
    ///   - note: Told what the folder holds or announces and this program does not run, line by
    ///     line, before the load; on the first rank alone.
    ///   - enter: Told each phase when it begins, on the calling thread.
    /// - Throws: What is wrong with the settings or the checkpoint, or `TransportError` naming the
    ///   rank that was lost.
    public convenience init(
        _ configuration: ServingRankConfiguration, fabric: any Fabric, epoch: GroupEpoch? = nil,
        note: (String) -> Void = { _ in },
        enter: @escaping (Phase) -> Void = { _ in }
    ) throws {
        try self.init(
            configuration, fabric: fabric, epoch: epoch ?? .first(rankCount: fabric.rankCount),
            returningAs: nil, note: note, enter: enter)
    }

    /// Loads the model of a rank that comes back to ranks which serve: its share of an epoch in
    /// which it takes part again. `run` begins by asking for that epoch.
    ///
    /// - Parameters:
    ///   - epoch: The ranks that live now, and this one.
    ///   - place: This rank's place among them.
    public convenience init(
        _ configuration: ServingRankConfiguration, returningTo epoch: GroupEpoch, as place: Rank,
        enter: @escaping (Phase) -> Void = { _ in }
    ) throws {
        // Nobody else is on it: the ranks of the epoch meet on another.
        guard let alone = try makeLoopbackFabrics(rankCount: 1).first else {
            preconditionFailure("a fabric of one rank has one")
        }
        try self.init(
            configuration, fabric: alone, epoch: epoch, returningAs: place, note: { _ in },
            enter: enter)
        engine.interrupt(before: epoch.number)
    }

    private init(
        _ configuration: ServingRankConfiguration, fabric: any Fabric, epoch: GroupEpoch,
        returningAs place: Rank?, note: (String) -> Void, enter: @escaping (Phase) -> Void
    ) throws {
        try configuration.engine.validate()
        self.enter = enter
        held = epoch
        grammars = configuration.grammars
        folder = try ModelFolder(
            directory: configuration.directory, source: configuration.weights)
        let (checkpoint, shape) = (folder.checkpoint, folder.configuration)
        if fabric.rank == 0 { folder.notes.forEach(note) }
        let compute = try configuration.compute ?? checkpoint.defaultCompute(of: shape)
        options = configuration.modelOptions(of: shape, compute: compute)
        let preparation = EpochPreparation(
            configuration: configuration, shape: shape, compute: compute, options: options,
            checkpoint: checkpoint)
        self.preparation = preparation
        let prepared = try preparation.prepare(
            fabric, place == nil ? epoch : .first(rankCount: fabric.rankCount))
        preparation.heldPlaces.count = fabric.nodeRanks.count
        let share = try place.map { (try preparation.map(epoch), $0) }
        enter(.load(nil))
        let model = try Model(
            checkpoint, configuration: shape, options: options,
            pool: ThreadPool(threads: configuration.threads),
            shared: prepared.shared, share: share
        ) { enter(.load($0)) }
        let format = configuration.cacheFormat ?? (compute == .float32 ? .float32 : .bfloat16)
        let cache = BlockCache(
            configuration: shape, format: format, blockCount: configuration.blockCount,
            blockTokens: configuration.blockTokens)
        network = DeepSeekNetwork(model: model, cache: cache)
        kept = try configuration.keptPrefixes(of: cache, compute: compute)
        tokenizer = try Self.tokenizer(configuration.directory)
        if place == nil {
            enter(.warmUp)
            try network.warmUp(atMost: configuration.engine.stepTokens)
        }
        engine = Engine(
            prepared.engine, configuration.engine,
            handovers: configuration.makeLink.map {
                HandoverStation(cache, limit: configuration.stepLimit, makeFabric: $0)
            })
        capacity = prepared.capacity
    }

    /// Answers requests until the engine is stopped.
    ///
    /// - Parameters:
    ///   - report: What happened, after each step.
    ///   - recover: Gives the next epoch, as `preparation` made it, after an error, or after
    ///     `engine.interrupt` (nil), ended the one under way; it is asked again when the change of
    ///     epochs itself ends by an error. Requests under way go on with the text that they would
    ///     have had. It throws if nothing can go on; by default it does.
    ///   - recovered: Told when this rank takes part in the next epoch.
    /// - Throws: `TransportError` naming the rank that was lost. All requests have failed by then.
    public func run(
        report: @Sendable ([EngineReport]) -> Void,
        recover: ((any Error)?) throws -> PreparedEpoch = {
            throw $0 ?? ServingError.draining
        },
        recovered: () -> Void = {}
    ) throws {
        enter(.ready)
        try engine.run(
            network, tokenizer: tokenizer, grammars: grammars, kept: kept, report: report,
            recover: { error in
                var error = error
                while true {
                    let next = try recover(error)
                    do {
                        try join(next)
                        recovered()
                        return next.engine
                    } catch let failure {
                        error = failure
                    }
                }
            })
    }

    /// Takes part in an epoch: reads the experts that come to this rank, and shares them.
    ///
    /// - Throws: `ServingError.memory` where the ranks before this one on its machine leave no
    ///   memory for them: this rank leaves, and the others go on without it while they can.
    private func join(_ epoch: PreparedEpoch) throws {
        enter(.load(nil))
        try preparation.checkMemory(epoch, from: held, hasBegun: true)
        try network.share(
            epoch.shared, fetched: epoch.takeFetched(), from: folder.checkpoint
        ) { [enter] in enter(.load($0)) }
        held = epoch.members
        preparation.heldPlaces.count = epoch.fabric.nodeRanks.count
        capacity = epoch.capacity
        enter(.ready)
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
