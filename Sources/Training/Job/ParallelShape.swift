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
    func dataRank(of rank: Rank) -> Int { rank.rawValue / pipelineRanks }

    /// Checks the sizes against the schedule and the model, before any work.
    public func validate(for model: ModelConfiguration) throws {
        guard pipelineRanks >= 1, dataRanks >= 1, microBatches >= 1 else {
            throw TrainingError.notPositive(
                "pipelineRanks, dataRanks, microBatches",
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
