public import Collectives
import Foundation
public import Models
public import Pipeline
import Tensors
import Topology
public import Transport

/// Trains one rank's part of a model.
public final class RankTrainer {
    /// What was asked for.
    public let options: TrainingOptions
    /// The stages of this rank and their micro-batches.
    public let worker: StageWorker
    /// Steps done.
    public internal(set) var step = 0
    /// What this rank did in the last step, and when.
    public internal(set) var entries: [TimelineEntry] = []
    /// When the last step began, on the fabric's clock.
    var stepBegan: UInt64 = 0
    /// Tokens of the last step that chose each expert, `[layers, experts]`, over all ranks.
    private(set) var loads: [Float] = []
    let fabric: any Fabric
    let sync: ParameterSync
    let context: TrainingContext
    /// The schedule of a step.
    public let schedule: Schedule
    private let executor: Executor
    let stageChannels: Channels?
    private let reducer: Reducer?
    /// The all-to-all of this rank, if experts are shared.
    public let groups: [ExpertParallelGroup]

    /// Makes the rank's layers with their first values. Collective.
    ///
    /// - Parameters:
    ///   - fabric: All ranks of the run.
    ///   - experts: The ranks that share this rank's experts, in the order of data ranks; nil if
    ///     they do not.
    public init(_ options: TrainingOptions, fabric: any Fabric, experts: (any Fabric)? = nil) throws
    {
        try options.shape.validate(for: options.model)
        Tensor.recycleMemory()
        self.options = options
        self.fabric = fabric
        let shape = options.shape
        schedule = try shape.schedule.schedule(
            ranks: shape.pipelineRanks, microBatches: shape.microBatches)
        context = TrainingContext(
            configuration: options.model, sequenceLength: options.sequenceLength,
            pool: ThreadPool(threads: options.threads), precision: options.precision,
            balanceWeight: options.optimizer.balanceWeight)
        let (exchange, groups) = try Self.exchange(options, experts)
        self.groups = groups
        let place = shape.pipelineRank(of: fabric.rank)
        worker = StageWorker(
            stages: Self.stages(options, schedule.stages(of: place), context, exchange),
            context: context, groups: groups)
        let parameters = Self.distinct(worker.stages.values.flatMap(\.parameters))
        for parameter in parameters {
            parameter.start(seed: options.seed, deviation: options.startDeviation)
        }
        if options.precision == .float32 { Self.sumInParts(worker.stages, schedule, place) }
        sync = try ParameterSync(parameters, fabric: fabric)
        if options.averageDecay != nil { sync.beginAverages() }
        reducer =
            fabric.rankCount == 1
            ? nil : try Reducer(fabric: fabric, chunkCount: 1 << 16, limit: options.waitLimit)
        stageChannels = try Self.channels(options, schedule, fabric)
        executor = Executor(
            schedule: schedule, rank: place, worker: worker,
            link: Self.link(options, schedule, fabric, stageChannels), clock: fabric.clock)
    }

    private static func exchange(
        _ options: TrainingOptions, _ experts: (any Fabric)?
    ) throws -> (ExpertExchange, [ExpertParallelGroup]) {
        guard options.shape.sharesExperts, let experts else { return (.local, []) }
        var configuration = ExpertParallelConfiguration(
            mode: .normal, hiddenSize: options.model.hiddenSize,
            topK: options.model.activeExpertCount,
            maximumTokensPerRank: options.maximumRows,
            dispatchCodec: options.precision.dispatchCodec,
            combineCodec: options.precision.transferCodec, addsBeforeReturn: false)
        configuration.carriesScalars = true
        configuration.limit = options.waitLimit
        let placement = try ExpertPlacement.contiguous(
            expertCount: options.model.routedExpertCount, rankCount: experts.rankCount)
        let groups = try ["forward", "backward"].map { name in
            try ExpertParallelGroup(
                fabric: experts, configuration: configuration, placement: placement, name: name)
        }
        let own = placement.experts(on: experts.rank).map(\.rawValue)
        return (.group(forward: groups[0], backward: groups[1], experts: own), groups)
    }

    private static func stages(
        _ options: TrainingOptions, _ ids: [StageID], _ context: TrainingContext,
        _ exchange: ExpertExchange
    ) -> [StageID: TrainedStage] {
        let count = options.shape.schedule.stageCount(ranks: options.shape.pipelineRanks)
        let layers = options.model.layerCount / count
        var made: [StageID: TrainedStage] = [:]
        var parameters: [String: Parameter] = [:]
        for id in Set(ids).sorted() {
            let stage = TrainedStage(
                layers: id.rawValue * layers ..< (id.rawValue + 1) * layers,
                isFirst: id.rawValue == 0,
                isLast: id.rawValue == count - 1, context: context, exchange: exchange,
                shared: parameters)
            for parameter in stage.parameters { parameters[parameter.name] = parameter }
            made[id] = stage
        }
        return made
    }

    /// Lets every gradient be summed in halves of the micro-batches and by use, as ranks that hold
    /// only some of them must: so the bits of a step are the same under every schedule.
    private static func sumInParts(
        _ stages: [StageID: TrainedStage], _ schedule: Schedule, _ rank: Rank
    ) {
        var parts: [String: (parameter: Parameter, parts: Set<GradientPart>)] = [:]
        for (id, stage) in stages {
            let slices = schedule.steps[rank.rawValue].compactMap(\.weightCell)
                .filter { $0.stage == id }
                .map { StageWorker.slice(of: $0.microBatch, count: schedule.microBatchCount) }
            for parameter in stage.parameters {
                let made = stage.gradientParts(of: parameter, slices: Array(Set(slices)))
                parts[parameter.name, default: (parameter, [])].parts.formUnion(made)
            }
        }
        for entry in parts.values { entry.parameter.parts = entry.parts.sorted() }
    }

    private static func channels(
        _ options: TrainingOptions, _ schedule: Schedule, _ fabric: any Fabric
    ) throws -> Channels? {
        guard fabric.rankCount > 1 else { return nil }
        return try Channels(
            fabric: fabric, name: "stages", channelCount: ChannelLink.channelCount,
            slotCount: ChannelLink.slotCount(schedule),
            maximumCount: options.maximumRows * options.model.hiddenSize, limit: options.waitLimit)
    }

    static func link(
        _ options: TrainingOptions, _ schedule: Schedule, _ fabric: any Fabric,
        _ channels: Channels?
    ) -> any StageLink {
        guard let channels else { return NoLink() }
        let offset = options.shape.dataRank(of: fabric.rank) * options.shape.pipelineRanks
        return ChannelLink(
            channels, schedule: schedule, rankOffset: offset,
            codec: options.precision.transferCodec)
    }

    private static func distinct(_ parameters: [Parameter]) -> [Parameter] {
        var seen: Set<String> = []
        return parameters.filter { seen.insert($0.name).inserted }
    }

    /// Every trained value that this rank holds, by name.
    public var parameters: [Parameter] { sync.owned.map(\.parameter) }

    /// The routed layers of this rank.
    var routedLayers: [TrainedExperts] { worker.stages.values.flatMap(\.routedLayers) }
}

extension TrainingPrecision {
    /// How rows travel between stages, and from the experts home.
    fileprivate var transferCodec: RowCodec { self == .float32 ? .float32 : .bfloat16 }

    /// How rows, and backward the gradients of outputs, travel to the experts: in FP8 as the
    /// products there round them anyway, so that nothing is lost on the way (report, §3.3.3).
    fileprivate var dispatchCodec: RowCodec {
        self == .float8 ? .float8e4m3(powerOfTwo: false) : transferCodec
    }
}

/// The link of a rank that has no neighbours.
private final class NoLink: StageLink {
    func send(_ tensor: Tensor, _ transfer: Transfer) {
        preconditionFailure("a transfer without neighbours: \(transfer)")
    }

    func receive(_ transfer: Transfer, into tensor: Tensor) {
        preconditionFailure("a transfer without neighbours: \(transfer)")
    }
}

extension RankTrainer {
    /// Runs one step: forwards, backwards, and the update.
    ///
    /// - Parameter microBatches: This data rank's, the same on all ranks of its pipeline.
    public func run(_ microBatches: [MicroBatch]) throws -> StepReport {
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
        for layer in routedLayers { layer.gate.resetStatistics() }
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
        let rows = try allGather(mine)
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
            expertViolation: try balance(movingBiases: trouble == nil),
            trouble: trouble?.fact)
    }

    /// Gives every rank the doubles of all ranks, exactly: each travels as three floats.
    private func allGather(_ values: [Double]) throws -> [[Double]] {
        guard let reducer else { return [values] }
        let own = Tensor(rows: 1, columns: 3 * values.count)
        for (index, value) in values.enumerated() {
            var rest = value
            for part in 0 ..< 3 {
                let float = Float(rest)
                own[0, 3 * index + part] = float
                rest = value.isFinite ? rest - Double(float) : 0
            }
        }
        let all = Tensor(rows: fabric.rankCount, columns: own.columns)
        try reducer.allGather(own, into: all)
        return (0 ..< fabric.rankCount).map { rank in
            values.indices.map { index in
                (0 ..< 3).reduce(0) { $0 + Double(all[rank, 3 * index + $1]) }
            }
        }
    }

    /// Sums the loads of all ranks and moves every gate's bias against its load
    /// (auxiliary-loss-free balance, §2.1.2).
    ///
    /// - Parameter movingBiases: Not where values went wrong: the loads are not the gates' then.
    /// - Returns: The worst layer's violation.
    private func balance(movingBiases: Bool) throws -> Double {
        let shape = options.model
        let layers = shape.layerCount + shape.mtpLayerCount
        let loads = Tensor(rows: layers, columns: max(1, shape.routedExpertCount))
        for layer in routedLayers {
            for (expert, load) in layer.gate.load.enumerated() {
                loads[layer.gate.layer, expert] += Float(load)
            }
        }
        if let reducer { try reducer.allReduce(loads) }
        self.loads = loads.values
        var violation = 0.0
        for layer in 0 ..< layers where shape.hasExperts(layer: layer) {
            let row = (0 ..< shape.routedExpertCount).map { loads[layer, $0] }
            let mean = row.reduce(0, +) / Float(row.count)
            guard mean > 0 else { continue }
            violation = max(violation, Double((row.max() ?? mean) / mean) - 1)
        }
        guard movingBiases else { return violation }
        if let last = options.optimizer.biasSteps, step > last { return violation }
        for layer in routedLayers {
            layer.gate.moveBias(
                loads: (0 ..< shape.routedExpertCount).map { loads[layer.gate.layer, $0] },
                by: options.optimizer.biasStep)
        }
        return violation
    }

    /// The mean losses over documents, one micro-batch each. Collective.
    ///
    /// - Parameter documents: This data rank's, padded to one length; as many on every data rank.
    public func validate(_ documents: [MicroBatch]) throws -> (loss: Double, mtpLoss: Double) {
        guard let length = documents.first?.tokens.count else { return (0, 0) }
        let forward = schedule.forwardOnly(microBatches: documents.count)
        context.use(sequenceLength: length)
        defer { context.use(sequenceLength: options.sequenceLength) }
        worker.begin(documents, scale: LossScale(main: 1, mtp: 1, balance: 0))
        let executor = Executor(
            schedule: forward, rank: options.shape.pipelineRank(of: fabric.rank), worker: worker,
            link: Self.link(options, forward, fabric, stageChannels), clock: fabric.clock)
        _ = try executor.run()
        let counts = documents.reduce((0, 0)) { sum, document in
            let known = document.targets.count { $0 >= 0 }
            return (sum.0 + known, sum.1 + max(0, known - 1))
        }
        // DualPipe holds the last stage twice; forwards run through one of the two.
        let lastCell = Cell(
            stage: StageID(rawValue: forward.stageCount - 1), microBatch: MicroBatchID(rawValue: 0))
        let isLast = forward.rank(of: lastCell) == options.shape.pipelineRank(of: fabric.rank)
        let rows = try allGather([
            worker.losses.main, worker.losses.mtp, isLast ? Double(counts.0) : 0,
            isLast ? Double(counts.1) : 0,
        ])
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
