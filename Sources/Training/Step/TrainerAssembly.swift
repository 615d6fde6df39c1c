import Collectives
import Models
import Pipeline
import Tensors
import Topology
import Transport

/// Makes the parts of a rank's trainer: its layers, the all-to-all of their experts, and the links
/// to the ranks before and behind it.
struct TrainerAssembly {
    let options: TrainingOptions
    let fabric: any Fabric
    let schedule: Schedule
    let context: TrainingContext
    /// The all-to-all of the forward and of the backward; empty where experts are not shared.
    let groups: [ExpertParallelGroup]
    let worker: StageWorker
    /// Every trained value of the rank, once.
    let parameters: [Parameter]
    /// The channels between stages; nil where there is one rank.
    let channels: Channels?

    /// Makes the layers with their first values. Collective.
    ///
    /// - Parameter experts: The ranks that share this rank's experts, if any do.
    init(_ options: TrainingOptions, fabric: any Fabric, experts: (any Fabric)?) throws {
        self.options = options
        self.fabric = fabric
        let shape = options.shape
        schedule = try shape.schedule.schedule(
            ranks: shape.pipelineRanks, microBatches: shape.microBatches)
        context = TrainingContext(
            configuration: options.model, sequenceLength: options.sequenceLength,
            pool: ThreadPool(threads: options.threads), precision: options.precision,
            balanceWeight: options.optimizer.balanceWeight)
        let exchange: ExpertSharing
        (exchange, groups) = try Self.exchange(options, experts)
        let place = shape.pipelineRank(of: fabric.rank)
        worker = StageWorker(
            stages: Self.stages(options, schedule.stages(of: place), context, exchange),
            context: context, groups: groups)
        var seen: Set<String> = []
        parameters = worker.stages.values.flatMap(\.parameters)
            .filter { seen.insert($0.name).inserted }
        for parameter in parameters {
            parameter.start(seed: options.seed, deviation: options.startDeviation)
        }
        if options.precision == .float32 { Self.sumInParts(worker.stages, schedule, place) }
        channels = try Self.channels(options, schedule, fabric)
    }

    private static func exchange(
        _ options: TrainingOptions, _ experts: (any Fabric)?
    ) throws -> (ExpertSharing, [ExpertParallelGroup]) {
        guard options.shape.sharesExperts, let experts else { return (.local, []) }
        var configuration = ExpertParallelConfiguration(
            mode: .normal, hiddenSize: options.model.hiddenSize,
            topK: options.model.activeExpertCount,
            maximumTokensPerRank: options.maximumRows,
            dispatchCodec: options.precision.dispatchCodec,
            combineCodec: options.precision.transferCodec, addsBeforeReturn: false)
        configuration.carriesScalars = true
        configuration.limit = options.waitLimit
        let map = try options.model.expertMap(rankCount: experts.rankCount)
        let groups = try ["forward", "backward"].map { name in
            try ExpertParallelGroup(
                fabric: experts, configuration: configuration, map: map, name: name)
        }
        return (.group(forward: groups[0], backward: groups[1], map), groups)
    }

    private static func stages(
        _ options: TrainingOptions, _ ids: [StageID], _ context: TrainingContext,
        _ sharing: ExpertSharing
    ) -> [StageID: TrainedStage] {
        let count = options.shape.schedule.stageCount(ranks: options.shape.pipelineRanks)
        let layers = options.model.layerCount / count
        var made: [StageID: TrainedStage] = [:]
        var parameters: [String: Parameter] = [:]
        for id in Set(ids).sorted() {
            let stage = TrainedStage(
                layers: id.rawValue * layers ..< (id.rawValue + 1) * layers,
                isFirst: id.rawValue == 0,
                isLast: id.rawValue == count - 1, context: context, sharing: sharing,
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

    /// Room for every activation that a rank may hold.
    private static func channels(
        _ options: TrainingOptions, _ schedule: Schedule, _ fabric: any Fabric
    ) throws -> Channels? {
        guard fabric.rankCount > 1 else { return nil }
        return try Channels(
            fabric: fabric, name: "stages", channelCount: ChannelLink.channelCount,
            slotCount: ChannelLink.slotCount(schedule),
            maximumCount: options.maximumRows * options.model.hiddenSize, limit: options.waitLimit)
    }

    /// The links of a rank to its neighbours under a schedule of the same ranks.
    private func link(_ schedule: Schedule) -> any StageLink {
        guard let channels else { return NoLink() }
        let offset = options.shape.dataRank(of: fabric.rank) * options.shape.pipelineRanks
        return ChannelLink(
            channels, schedule: schedule, rankOffset: offset,
            codec: options.precision.transferCodec)
    }

    /// The executor of a schedule's steps on this rank.
    func executor(
        _ schedule: Schedule, worker: any CellWorker, interleaves: Bool = true
    ) -> Executor {
        Executor(
            schedule: schedule, rank: options.shape.pipelineRank(of: fabric.rank), worker: worker,
            link: link(schedule), clock: fabric.clock, interleaves: interleaves)
    }
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
