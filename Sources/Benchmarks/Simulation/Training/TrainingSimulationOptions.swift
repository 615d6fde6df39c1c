import Collectives
package import Pipeline
package import Planner
import Topology

/// What `apus simulate train` simulates: one step of a pipeline whose stages share experts.
///
/// Neighbouring ranks share a stage: rank `stage x EP + place`.
package struct TrainingSimulationOptions: Sendable {
    /// What one block computes for a micro-batch.
    package struct BlockTimes: Hashable, Sendable {
        /// Before the dispatch, or after the combine of a backward.
        package var attention: StepCosts
        /// Between dispatch and combine.
        package var experts: StepCosts

        /// - Parameters:
        ///   - whole: Seconds of the block's steps.
        ///   - expertShare: The share of each that routed experts take, 0 to 1.
        package init(_ whole: StepCosts, expertShare: Double) {
            attention = whole.scaled(by: 1 - expertShare)
            experts = whole.scaled(by: expertShare)
        }

        /// The planner's rates: what the file's processor computes of a block of the layout's
        /// model.
        package init(_ layout: Layout) {
            let (parts, _) = layout.stageTimes
            let blocks = Double(layout.request.model.layers) / Double(layout.request.pp)
            let one = Compute(layout).experts(tokens: Double(layout.request.context))
            experts = StepCosts(forward: one, backwardInput: one, backwardWeight: one)
            attention = StepCosts(
                forward: parts.forward / blocks - one,
                backwardInput: parts.backwardInput / blocks - one,
                backwardWeight: parts.backwardWeight / blocks - one)
        }

        /// A stage of so many blocks.
        func stage(_ blocks: Int) -> StepCosts {
            let scale = Double(blocks)
            return StepCosts(
                forward: scale * (attention.forward + experts.forward),
                backwardInput: scale * (attention.backwardInput + experts.backwardInput),
                backwardWeight: scale * (attention.backwardWeight + experts.backwardWeight))
        }
    }

    /// Cluster, tokens of a micro-batch, routing and faults; its groups are those of a stage.
    package var cluster: SimulationOptions
    /// Ranks of a pipeline.
    package var stages: Int
    /// The order of the steps.
    package var kind = ScheduleKind.dualPipe
    /// nil takes twice the ranks of the pipeline.
    package var microBatches: Int?
    /// Blocks of a stage.
    package var blocks = 1
    /// What they compute.
    package var times: BlockTimes

    /// A pipeline over ranks of a cluster.
    package init(_ cluster: SimulationOptions, stages: Int, times: BlockTimes) {
        self.cluster = cluster
        self.stages = stages
        self.times = times
    }

    /// Blocks of a stage: more than any published pipeline has.
    static let mostBlocks = 64
    /// Cells of a pipeline times blocks: each is an exchange of every stage, twice.
    static let mostExchanges = 1 << 14

    /// Slices of the batch.
    package var chosenMicroBatches: Int { microBatches ?? max(2, 2 * stages) }

    /// Ranks that share a stage's experts.
    package var groupSize: Int { cluster.rankCount / max(1, stages) }

    /// The options as the exchanges of a stage take them.
    var exchanges: SimulationOptions {
        var options = cluster
        options.groupSize = groupSize
        options.isOneGroup = false
        options.detail = .bytes
        // Faults of computing need something that computes.
        let longest = times.stage(blocks)
        options.compute = .seconds(
            max(longest.forward, longest.backwardInput, longest.backwardWeight))
        return options
    }

    /// What the ranks of a stage agree on.
    var configuration: ExpertParallelConfiguration {
        let options = exchanges
        var configuration = options.configuration
        configuration.addsBeforeReturn = false
        configuration.carriesScalars = true
        // The last stage waits for all before it, and the first for the last: three steps of each
        // micro-batch, while the pipeline fills and empties.
        let slowest = options.stragglers.values.max() ?? 1
        configuration.limit +=
            options.compute * slowest * (3 * (Double(chosenMicroBatches) + 2 * Double(stages)))
        return configuration
    }

    /// Checks the cut of the ranks, from which a stage's sizes follow.
    ///
    /// - Throws: `SimulationError` with the option, its value and its limit.
    package func checkShape() throws {
        try cluster.checkRanks()
        try cluster.checkRanksOfBytes()
        try cluster.limit("stages", stages, 1 ... cluster.rankCount, "ranks")
        guard cluster.rankCount % stages == 0 else {
            throw SimulationError.option(
                "stages", value: "\(stages)", limit: "does not divide \(cluster.rankCount) ranks")
        }
        try cluster.limit("tokens", cluster.tokenCount, 1 ... 1 << 17, "tokens of one rank")
    }

    /// Writes the schedule, once everything is found to fit.
    ///
    /// - Throws: `SimulationError` with the option, its value and its limit.
    func schedule() throws -> Schedule {
        try checkShape()
        try cluster.limit("layers", blocks, 1 ... Self.mostBlocks, "blocks of a stage")
        guard groupSize <= cluster.expertCount else {
            throw SimulationError.option(
                "stages", value: "\(stages)",
                limit: "leaves \(groupSize) ranks to share \(cluster.expertCount) experts")
        }
        try cluster.limit(
            "micro-batches", chosenMicroBatches,
            1 ... Self.mostExchanges / (stages * blocks),
            "\(stages) stages of \(blocks) blocks; \(Self.mostExchanges) exchanges")
        guard kind != .forwardOnly else {
            throw SimulationError.option(
                "schedule", value: kind.rawValue, limit: "trains nothing")
        }
        let schedule: Schedule
        do {
            schedule = try kind.schedule(ranks: stages, microBatches: chosenMicroBatches)
        } catch {
            throw SimulationError.option("schedule", value: kind.rawValue, limit: "\(error)")
        }
        try checkMemory(schedule)
        return schedule
    }

    /// Tokens arrive once per expert in two buffers of two groups, and go home again; transfers
    /// wait in the slots of channels.
    private func checkMemory(_ schedule: Schedule) throws {
        let values = Double(cluster.tokenCount) * Double(cluster.hiddenSize)
        let held = 16 * Double(cluster.topK) + 4 * Double(ChannelLink.slotCount(schedule))
        try cluster.checkMemory("tokens", cluster.tokenCount, bytesPerRank: held * values)
    }
}
