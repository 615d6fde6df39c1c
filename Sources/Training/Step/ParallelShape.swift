public import Models
public import Pipeline
public import Topology

/// How ranks share a training run: pipeline times data, experts over the data ranks.
///
/// Rank `d * pipelineRanks + p` is pipeline rank `p` of data rank `d`. The data ranks of one
/// pipeline rank share its routed experts when `sharesExperts`.
public struct ParallelShape: Codable, Hashable, Sendable {
    /// The order of work.
    public var schedule: ScheduleKind
    /// Ranks that the layers are spread over.
    public var pipelineRanks: Int
    /// Copies of the pipeline, each with its own part of the batch.
    public var dataRanks: Int
    /// Whether data ranks hold different experts and exchange tokens.
    public var sharesExperts: Bool
    /// Slices of one data rank's batch.
    public var microBatches: Int

    /// States the sizes.
    public init(
        schedule: ScheduleKind = .oneForwardOneBackward, pipelineRanks: Int = 1,
        dataRanks: Int = 1, sharesExperts: Bool = false, microBatches: Int = 1
    ) {
        self.schedule = schedule
        self.pipelineRanks = pipelineRanks
        self.dataRanks = dataRanks
        self.sharesExperts = sharesExperts
        self.microBatches = microBatches
    }

    /// Processes in all.
    public var rankCount: Int { pipelineRanks * dataRanks }

    /// The place of a rank in its pipeline.
    public func pipelineRank(of rank: Rank) -> Rank {
        Rank(rawValue: rank.rawValue % pipelineRanks)
    }

    /// Which part of the batch a rank works on.
    public func dataRank(of rank: Rank) -> Int { rank.rawValue / pipelineRanks }

    /// Checks the sizes against the schedule and the model, before any work.
    public func validate(for model: ModelConfiguration) throws {
        guard pipelineRanks >= 1, dataRanks >= 1, microBatches >= 1 else {
            throw TrainingError.notPositive(
                "pipeline_ranks, data_ranks, micro_batches",
                value: min(pipelineRanks, dataRanks, microBatches))
        }
        guard schedule != .forwardOnly else {
            throw TrainingError.job("schedule", fact: "\(schedule.rawValue) has no backward")
        }
        _ = try schedule.schedule(ranks: pipelineRanks, microBatches: microBatches)
        let stages = schedule.stageCount(ranks: pipelineRanks)
        guard model.layerCount.isMultiple(of: stages) else {
            throw TrainingError.layersNotDivisible(layers: model.layerCount, stages: stages)
        }
        if sharesExperts && !model.routedExpertCount.isMultiple(of: dataRanks) {
            throw TrainingError.expertsNotDivisible(
                experts: model.routedExpertCount, ranks: dataRanks)
        }
    }
}

/// What stops a training run.
public enum TrainingError: ProgramError, CustomStringConvertible {
    /// A count below 1.
    case notPositive(String, value: Int)
    /// Layers that do not divide into the schedule's stages.
    case layersNotDivisible(layers: Int, stages: Int)
    /// Experts that do not divide over the ranks that share them.
    case expertsNotDivisible(experts: Int, ranks: Int)
    /// A source of text that is not there or empty.
    case missingText(String)
    /// A token file that cannot be used.
    case tokenFile(String, fact: String)
    /// A checkpoint that cannot be read or written.
    case checkpoint(String, fact: String)
    /// A loss that is not a number, and where it arose.
    case lossNotFinite(rank: Rank, layer: Int?, microBatch: Int, step: Int)
    /// A gradient that is not a number.
    case gradientNotFinite(parameter: String, rank: Rank, step: Int)
    /// A teacher that does not answer.
    case teacher(String, fact: String)
    /// A key of the job file.
    case job(String, fact: String)

    /// Numbers that went wrong are told from bad input.
    public var exitStatus: ExitStatus {
        switch self {
        case .lossNotFinite, .gradientNotFinite: .failed
        default: .badInput
        }
    }

    /// The fact, the value, the limit, and where the limit comes from.
    public var description: String {
        switch self {
        case .notPositive(let what, let value): "\(what) is \(value): it must be at least 1"
        case .layersNotDivisible(let layers, let stages):
            "\(layers) layers (num_hidden_layers) do not divide into \(stages) stages"
        case .expertsNotDivisible(let experts, let ranks):
            "\(experts) experts (n_routed_experts) do not divide over \(ranks) data ranks"
        case .missingText(let path): "\(path) has no text"
        case .tokenFile(let path, let fact): "\(path): \(fact)"
        case .checkpoint(let path, let fact): "\(path): \(fact)"
        case .teacher(let url, let fact): "the teacher at \(url): \(fact)"
        case .lossNotFinite(let rank, let layer, let microBatch, let step):
            """
            the loss of micro-batch \(microBatch) is not finite in step \(step): the first output \
            that was not is that of \(layer.map { "layer \($0)" } ?? "the head") on rank \
            \(rank.rawValue); skip_bad_steps leaves such a step out
            """
        case .gradientNotFinite(let parameter, let rank, let step):
            "the gradient of \(parameter) on \(rank) is not finite in step \(step)"
        case .job(let key, let fact): "\(key) \(fact)"
        }
    }
}
