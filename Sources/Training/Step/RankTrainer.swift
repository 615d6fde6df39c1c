import Collectives
import Foundation
import Models
import Pipeline
import Tensors
import Topology
import Transport

/// Trains one rank's part of a model.
final class RankTrainer {
    /// What was asked for.
    let options: TrainingOptions
    /// Steps done.
    var step = 0
    /// What this rank did in the last step, and when.
    var entries: [TimelineEntry] = []
    /// When the last step began, on the fabric's clock.
    var stepBegan: UInt64 = 0
    let fabric: any Fabric
    let sync: ParameterSync
    private let assembly: TrainerAssembly
    private let executor: Executor
    private let reducer: Reducer?
    private var balance: LoadBalance

    /// The stages of this rank and their micro-batches.
    var worker: StageWorker { assembly.worker }
    /// The schedule of a step.
    var schedule: Schedule { assembly.schedule }
    /// The all-to-all of this rank, if experts are shared.
    var groups: [ExpertParallelGroup] { assembly.groups }
    var context: TrainingContext { assembly.context }
    /// Tokens of the last step that chose each expert, `[layers, experts]`, over all ranks.
    var loads: [Float] { balance.loads }

    /// Makes the rank's layers with their first values. Collective.
    ///
    /// - Parameters:
    ///   - fabric: All ranks of the run.
    ///   - experts: The ranks that share this rank's experts, in the order of data ranks; nil if
    ///     they do not.
    init(_ options: TrainingOptions, fabric: any Fabric, experts: (any Fabric)? = nil) throws {
        try options.shape.validate(for: options.model)
        Tensor.recycleMemory()
        self.options = options
        self.fabric = fabric
        assembly = try TrainerAssembly(options, fabric: fabric, experts: experts)
        sync = try ParameterSync(assembly.parameters, fabric: fabric)
        if options.averageDecay != nil { sync.beginAverages() }
        reducer =
            fabric.rankCount == 1
            ? nil : try Reducer(fabric: fabric, chunkCount: 1 << 16, limit: options.waitLimit)
        executor = assembly.executor(assembly.schedule, worker: assembly.worker)
        balance = LoadBalance(
            assembly.worker.stages.values.flatMap(\.routedLayers), options)
    }

    /// Every trained value that this rank holds, by name.
    var parameters: [Parameter] { sync.owned.map(\.parameter) }

    /// The routed layers of this rank.
    var routedLayers: [TrainedExperts] { balance.layers }

    /// Performs the schedule once more with another worker, on data that `begin` set; the weights
    /// stay as they are.
    ///
    /// - Parameter interleaves: Whether pairs take their parts in turn.
    func perform(_ worker: any CellWorker, interleaves: Bool) throws {
        let executor = assembly.executor(schedule, worker: worker, interleaves: interleaves)
        stepBegan = fabric.clock.nanoseconds
        entries = try executor.run()
    }
}

extension RankTrainer {
    /// Runs one step: forwards, backwards, and the update.
    ///
    /// - Parameter microBatches: This data rank's, the same on all ranks of its pipeline.
    func run(_ microBatches: [MicroBatch]) throws -> StepReport {
        let report = try gradients(microBatches)
        return try update(report)
    }

    /// The first half of a step: afterwards the gradients of this rank's parts are summed.
    func gradients(_ microBatches: [MicroBatch]) throws -> StepReport {
        precondition(
            microBatches.count == options.shape.microBatches,
            "\(microBatches.count) of \(options.shape.microBatches) micro-batches")
        step += 1
        let (tokens, sequences) = begin(microBatches)
        stepBegan = fabric.clock.nanoseconds
        entries = try executor.run()
        try sync.reduceGradients()
        return try gather(tokens: tokens, sequences: sequences)
    }

    /// Sets the data of a step and forgets what the one before left.
    ///
    /// - Returns: Tokens and sequences of the step over all ranks.
    func begin(_ microBatches: [MicroBatch]) -> (tokens: Double, sequences: Double) {
        let own = microBatches.reduce(0) { $0 + $1.tokens.count }
        let tokens = Double(own * options.shape.dataRanks)
        let sequences = tokens / Double(options.sequenceLength)
        sync.clearGradients()
        balance.clear()
        worker.begin(
            microBatches,
            scale: LossScale(
                main: Float(1 / tokens),
                mtp: options.optimizer.mtpWeight / Float(tokens - sequences),
                balance: Float(1 / sequences)))
        return (tokens, sequences)
    }

    /// Sums losses, loads and the gradient norm over all ranks.
    private func gather(tokens: Double, sequences: Double) throws -> StepReport {
        let squares = sync.ownedSumOfSquares(pool: context.pool)
        let bad = worker.notFiniteLayers.min { $0.key < $1.key }
        let mine = [
            worker.losses.main, worker.losses.mtp, squares, Double((bad?.key ?? -1) + 1),
            Double(bad?.value ?? 0),
        ]
        let rows = try reducer?.allGather(mine) ?? [mine]
        let troubled = rows.indices.filter { rows[$0][3] > 0 }
        let sums = (0 ..< 3).map { column in rows.reduce(0) { $0 + $1[column] } }
        var trouble: TrainingError?
        if let rank = troubled.min(by: { rows[$0][3...].lexicographicallyPrecedes(rows[$1][3...]) })
        {
            let layer = Int(rows[rank][4])
            trouble = .lossNotFinite(
                rank: Rank(rawValue: rank), layer: layer < options.model.layerCount ? layer : nil,
                microBatch: Int(rows[rank][3]) - 1, step: step)
        } else if !sums[2].isFinite {
            trouble = .gradientNotFinite(
                parameter: sync.notFinite(pool: context.pool) ?? "another rank's parameters",
                rank: fabric.rank, step: step)
        }
        if let trouble, !options.skipsBadSteps { throw trouble }
        return StepReport(
            loss: sums[0] / tokens, mtpLoss: sums[1] / (tokens - sequences),
            gradientNorm: sums[2].squareRoot(), rate: options.optimizer.rate.rate(step: step),
            expertViolation: try balance.update(
                step: step, over: reducer, movesBiases: trouble == nil),
            trouble: trouble?.fact)
    }

    /// The mean losses over documents, one micro-batch each. Collective.
    ///
    /// - Parameter documents: This data rank's, padded to one length; as many on every data rank.
    func validate(_ documents: [MicroBatch]) throws -> (loss: Double, mtpLoss: Double) {
        guard let length = documents.first?.tokens.count else { return (0, 0) }
        let forward = schedule.forwardOnly(microBatches: documents.count)
        context.use(sequenceLength: length)
        defer { context.use(sequenceLength: options.sequenceLength) }
        worker.begin(documents, scale: LossScale(main: 1, mtp: 1, balance: 0))
        _ = try assembly.executor(forward, worker: worker).run()
        let counts = documents.reduce((0, 0)) { sum, document in
            let known = document.targets.count { $0 >= 0 }
            return (sum.0 + known, sum.1 + max(0, known - 1))
        }
        // DualPipe holds the last stage twice; forwards run through one of the two.
        let lastCell = Cell(
            stage: StageID(rawValue: forward.stageCount - 1), microBatch: MicroBatchID(rawValue: 0))
        let isLast = forward.rank(of: lastCell) == options.shape.pipelineRank(of: fabric.rank)
        let mine = [
            worker.losses.main, worker.losses.mtp, isLast ? Double(counts.0) : 0,
            isLast ? Double(counts.1) : 0,
        ]
        let rows = try reducer?.allGather(mine) ?? [mine]
        let sums = (0 ..< 4).map { column in rows.reduce(0) { $0 + $1[column] } }
        return (sums[0] / max(sums[2], 1), sums[1] / max(sums[3], 1))
    }

    /// The second half of a step: clipping, AdamW, and the exchange of what changed.
    func update(_ report: StepReport) throws -> StepReport {
        guard !report.wasSkipped else { return report }
        let optimizer = options.optimizer
        let clip = report.gradientNorm > optimizer.clip ? optimizer.clip / report.gradientNorm : 1
        sync.update(
            AdamRule(
                rate: Float(report.rate), beta1: optimizer.beta1, beta2: optimizer.beta2,
                epsilon: optimizer.epsilon, decay: optimizer.decay, step: step,
                gradientScale: Float(clip)),
            pool: context.pool)
        if let decay = options.averageDecay { sync.updateAverages(decay: decay) }
        try sync.shareValues()
        return report
    }
}
