import Checkpoints
import Cluster
import Collectives
import Foundation
import Language
import Logging
import Models
import Serving
import Tensors
import Topology
import Transport

/// One rank from the moment it is let in: connect, load, warm up, answer.
final class RankProcess {
    private let job: JobConfiguration
    private let work: ServingWork
    private let rank: Rank
    private let link: ControlLink
    private let log: Logger
    /// Of this node, as found before anything binds threads to some of them.
    private let cores = ProcessInfo.processInfo.activeProcessorCount

    init(
        _ job: JobConfiguration, _ work: ServingWork, rank: Rank, link: ControlLink, log: Logger
    ) {
        self.job = job
        self.work = work
        self.rank = rank
        self.link = link
        self.log = log
    }

    /// Returns when the job is over.
    func run() throws {
        let fabric = try JobFabric(job: job, rank: rank, link: link, log: log)
            .makeForGroup(threadsPerRank: job.threads)
        defer { fabric.close() }
        let engineConfiguration = try work.engine.applied(
            to: EngineConfiguration(), section: "engine")
        try engineConfiguration.validate()
        let checkpoint = try Checkpoint(directory: work.model)
        let shape = try ModelConfiguration.load(directory: work.model)
        let compute = try defaultCompute(checkpoint)
        let group = try expertGroup(fabric, shape, compute, engineConfiguration)
        var options = ModelOptions(
            compute: compute,
            contextLimit: job.limits.contextTokens > 0 ? job.limits.contextTokens : nil)
        options.copiesDraftExperts = engineConfiguration.copiesDraftExperts(of: shape)
        options.headSharers = cores / job.threads
        options.sharedHeadBytes = engineConfiguration.sharedHeadBytes
        let model = try load(checkpoint, shape, options, group)
        let network = DeepSeekNetwork(
            model: model,
            cache: LatentCache(
                configuration: shape, format: compute == .float32 ? .float32 : .bfloat16,
                blockCount: blockCount))
        link.enter(.warmUp)
        try warmUp(network)
        let agreement = try StepAgreement(
            fabric: fabric, limit: .seconds(job.deadlines.stepSeconds))
        let tokenizer = try Tokenizer(directory: URL(filePath: work.model))
        let place = EnginePlace(
            number: fabric.ranks.count {
                $0 < fabric.rank && fabric.node(of: $0) == fabric.node(of: fabric.rank)
            },
            threads: job.threads, cores: cores, runningLimit: engineConfiguration.runningLimit)
        try answer(
            Engine(agreement: agreement, configuration: engineConfiguration), place, network,
            tokenizer)
    }

    private func expertGroup(
        _ fabric: any Fabric, _ shape: ModelConfiguration, _ compute: Compute,
        _ engine: EngineConfiguration
    ) throws -> ExpertParallelGroup? {
        guard fabric.rankCount > 1 else { return nil }
        let placement = try ExpertPlacement.contiguous(
            expertCount: shape.routedExpertCount, rankCount: fabric.rankCount)
        return try ExpertParallelGroup(
            fabric: fabric,
            configuration: shape.expertParallel(
                maximumTokensPerRank: engine.stepTokens, compute: compute,
                limit: .seconds(job.deadlines.stepSeconds)),
            placement: placement)
    }

    // MARK: Load

    private func defaultCompute(_ checkpoint: Checkpoint) throws -> Compute {
        let embedding = try checkpoint.locate("model.embed_tokens.weight")
        return embedding.entry.type == .float32 ? .float32 : .bfloat16
    }

    private func load(
        _ checkpoint: Checkpoint, _ shape: ModelConfiguration, _ options: ModelOptions,
        _ group: ExpertParallelGroup?
    ) throws -> Model {
        link.enter(.load)
        let link = link
        let model = try Model(
            checkpoint, configuration: shape, options: options,
            pool: ThreadPool(threads: job.threads), group: group,
            progress: { progress in
                link.report(
                    PhaseProgress(
                        doneBytes: progress.loadedBytes, totalBytes: progress.totalBytes,
                        elapsed: progress.elapsed))
            })
        log.info("loaded \(model.weightByteCount) bytes of weights")
        return model
    }

    private var blockCount: Int {
        let tokens = LatentCache.defaultBlockTokens
        return max(1, (job.limits.cacheTokens + tokens - 1) / tokens)
    }

    /// A step whose answer nobody sees: touches every weight and every window once.
    private func warmUp(_ network: DeepSeekNetwork) throws {
        let count = min(8, network.blockTokens, network.contextLimit)
        _ = try network.forward(
            [
                SequenceChunk(
                    tokens: Array(repeating: 0, count: count), position: 0,
                    blocks: [BlockID(rawValue: 0)])
            ], keepsHidden: false)
        _ = network.takeTime()
    }

    // MARK: Answer

    private func answer(
        _ engine: Engine, _ place: EnginePlace, _ network: DeepSeekNetwork,
        _ tokenizer: Tokenizer
    ) throws {
        let link = link
        let log = log
        let endpoint = EngineEndpoint(engine, place: place) { try link.send($0) }
        let rates = StatisticsRates()
        link.reportStatistics { rates.statistics(engine.statistics) }
        link.onPayload { payload in
            do {
                try endpoint.receive(payload)
            } catch {
                log.error("the coordinator sent what is no command: \(error)")
            }
        }
        link.onEnd { _ in engine.stop() }
        link.enter(.ready)
        try engine.run(network, tokenizer: tokenizer) { endpoint.report($0) }
    }
}
