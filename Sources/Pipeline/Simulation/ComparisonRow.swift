/// One line of the table that sets schedules against each other.
public struct ComparisonRow: Codable, Sendable {
    /// Which schedule.
    public let schedule: ScheduleKind
    /// Stages that the model was cut into.
    public let stages: Int
    /// Time from the first forward to the last weight gradient.
    public let makespan: Double
    /// The largest bubble of any rank.
    public let bubble: Double
    /// That bubble as a share of the makespan.
    public let bubbleShare: Double
    /// The most activations that a rank holds, in cells of the chosen schedule's stage size.
    public let peakActivations: Double
    /// Copies of the model's parameters.
    public let parameterCopies: Int
}

extension Schedule {
    /// The same model, ranks and micro-batches under every training schedule that can serve them.
    ///
    /// Where another schedule cuts the model into twice as many stages, each costs half as much.
    public func comparison(_ costs: StepCosts) -> [ComparisonRow] {
        ScheduleKind.allCases.compactMap { other in
            guard other != .forwardOnly,
                let schedule = try? other.schedule(ranks: rankCount, microBatches: microBatchCount)
            else { return nil }
            let share = Double(stageCount) / Double(schedule.stageCount)
            let result = schedule.simulate(costs.scaled(by: share))
            let bubble = result.bubbles.max() ?? 0
            return ComparisonRow(
                schedule: other, stages: schedule.stageCount, makespan: result.makespan,
                bubble: bubble, bubbleShare: bubble / result.makespan,
                peakActivations: Double(result.peakActivations.max() ?? 0) * share,
                parameterCopies: other.parameterCopies)
        }
    }
}
