import Checkpoints
import Collectives
import Foundation
import Language
import Models
import Synchronization
public import Tensors
import Topology
import Transport

/// What ranks that are threads of one process serve, and with how much.
public struct LocalRanksConfiguration: Sendable {
    /// The checkpoint's folder.
    public var directory: String
    /// How many ranks share the experts.
    public var ranks = 1
    /// Threads of each rank.
    public var threads = 1
    /// Tokens whose latents fit each rank's cache.
    public var cacheTokens = 32_768
    /// Positions of a block.
    public var blockTokens = 64
    /// How latents are stored; nil follows the compute mode.
    public var cacheFormat: LatentStore.Format?
    /// How activations enter matrix products.
    public var compute: Compute
    /// How each engine works.
    public var engine = EngineConfiguration()
    /// Cores that the ranks share; ranks beyond them get requests when the others are full.
    public var cores = ProcessInfo.processInfo.activeProcessorCount
    /// How long a step may wait for a rank.
    public var stepLimit = Duration.seconds(30)

    /// Ranks that serve this checkpoint.
    public init(directory: String, compute: Compute) {
        self.directory = directory
        self.compute = compute
    }

    /// Checks what can be known before anything starts.
    func validate() throws {
        try engine.validate()
        try Setting.check("threads", threads, 1, 256)
        try Setting.check("cacheTokens", cacheTokens, 1, 1 << 32)
        _ = try ModelConfiguration.load(directory: directory).expertMap(rankCount: ranks)
    }
}

/// All ranks of a job as threads of this process, over a loopback fabric.
///
/// Requests take the same way as on a cluster, so what holds here holds there.
public final class LocalRanks: Sendable {
    /// Takes requests to the ranks.
    public let router: RemoteRouter
    private let engines: [Engine]
    private let threads: DispatchGroup
    private let fabrics: [any Fabric]

    /// Loads the model on every rank and starts the engines.
    public init(_ configuration: LocalRanksConfiguration) throws {
        try configuration.validate()
        let fabrics = try makeLoopbackFabrics(rankCount: configuration.ranks)
        let endpoints = Mutex([EngineEndpoint?](repeating: nil, count: configuration.ranks))
        let router = RemoteRouter(rankCount: configuration.ranks) { rank, bytes in
            let endpoint = endpoints.withLock { $0[rank.rawValue] }
            do { try endpoint?.receive(bytes) } catch {
                preconditionFailure("a command of this process does not decode: \(error)")
            }
        }
        let start = Start(configuration.ranks)
        let threads = DispatchGroup()
        for fabric in fabrics {
            threads.enter()
            let thread = Thread {
                defer { threads.leave() }
                do {
                    let (engine, network, tokenizer) = try Self.prepare(configuration, fabric)
                    let place = EnginePlace(
                        number: fabric.rank.rawValue, threads: configuration.threads,
                        cores: configuration.cores,
                        runningLimit: configuration.engine.runningLimit)
                    let endpoint = EngineEndpoint(engine, place: place) {
                        try router.receive($0, from: fabric.rank)
                    }
                    endpoints.withLock { $0[fabric.rank.rawValue] = endpoint }
                    start.ready(fabric.rank, engine)
                    try engine.run(network, tokenizer: tokenizer) { endpoint.report($0) }
                } catch {
                    fabric.close()
                    start.failed(fabric.rank, error)
                    router.lost(fabric.rank, reason: "\(error)")
                }
            }
            // Deep enough for the kernels' and the parser's frames, as a main thread is.
            thread.stackSize = 8 << 20
            thread.name = "apus-\(fabric.rank.rawValue)"
            thread.start()
        }
        engines = try start.wait()
        self.router = router
        self.threads = threads
        self.fabrics = fabrics
    }

    /// What each rank's engine has done.
    public var statistics: [EngineStatistics] { engines.map(\.statistics) }

    /// Ends the engines.
    ///
    /// Requests under way fail.
    public func stop() {
        for engine in engines { engine.stop() }
        threads.wait()
        for fabric in fabrics { fabric.close() }
    }

    private static func prepare(
        _ configuration: LocalRanksConfiguration, _ fabric: any Fabric
    ) throws -> (Engine, DeepSeekNetwork, Tokenizer?) {
        let shape = try ModelConfiguration.load(directory: configuration.directory)
        let agreement = try StepAgreement(fabric: fabric, limit: configuration.stepLimit)
        let map = try shape.expertMap(rankCount: configuration.ranks)
        var shared: SharedExperts?
        if configuration.ranks > 1 {
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: shape.expertParallel(
                    maximumTokensPerRank: configuration.engine.stepTokens,
                    compute: configuration.compute, limit: configuration.stepLimit),
                map: map)
            shared = SharedExperts(group, map)
        }
        var options = ModelOptions(compute: configuration.compute)
        options.copiesDraftExperts = configuration.engine.copiesDraftExperts(of: shape)
        options.sharedHeadBytes = configuration.engine.sharedHeadBytes
        let model = try Model(
            try Checkpoint(directory: configuration.directory), configuration: shape,
            options: options,
            pool: ThreadPool(threads: configuration.threads), shared: shared)
        let blockTokens = configuration.blockTokens
        let cache = LatentCache(
            configuration: shape,
            format: configuration.cacheFormat
                ?? (configuration.compute == .float32 ? .float32 : .bfloat16),
            blockCount: (configuration.cacheTokens + blockTokens - 1) / blockTokens,
            blockTokens: blockTokens)
        let folder = URL(filePath: configuration.directory)
        let hasTokenizer = FileManager.default.fileExists(
            atPath: folder.appending(path: "tokenizer.json").path)
        return (
            Engine(agreement: agreement, map: map, configuration: configuration.engine),
            DeepSeekNetwork(model: model, cache: cache),
            hasTokenizer ? try Tokenizer(directory: folder) : nil
        )
    }

    /// Waits until every rank is ready or one has failed.
    private final class Start: Sendable {
        private struct State {
            var engines: [Engine?]
            var failure: (any Error)?
        }

        private let state: Mutex<State>
        private let changes = DispatchSemaphore(value: 0)

        init(_ count: Int) {
            state = Mutex(State(engines: Array(repeating: nil, count: count)))
        }

        func ready(_ rank: Rank, _ engine: Engine) {
            state.withLock { $0.engines[rank.rawValue] = engine }
            changes.signal()
        }

        func failed(_ rank: Rank, _ error: any Error) {
            state.withLock { if $0.failure == nil { $0.failure = error } }
            changes.signal()
        }

        func wait() throws -> [Engine] {
            while true {
                changes.wait()
                let (engines, failure) = state.withLock { ($0.engines, $0.failure) }
                if let failure { throw failure }
                if !engines.contains(where: { $0 == nil }) { return engines.compactMap { $0 } }
            }
        }
    }
}
