package import Pipeline
import Topology

/// How long a training step takes, by the schedule's own simulation.
package struct TrainingTimes: Sendable {
    /// What a stage's parts take, with the travel that they cannot hide.
    package var costs = StepCosts()
    /// Travel of one forward of a stage.
    package var travel = 0.0
    /// The schedule from the first forward to the last weight gradient.
    package var makespan = 0.0
    /// The largest bubble of any rank.
    package var bubble = 0.0
    /// Joining gradients of the copies, and the optimizer's pass over its state.
    package var optimizer = 0.0

    /// The whole step.
    package var step: Double { makespan + optimizer }

    /// None yet.
    package init() {}

    /// A schedule whose steps compute, and wait for the travel that they cannot hide.
    ///
    /// - Parameters:
    ///   - parts: What a stage computes for a micro-batch, without travel.
    ///   - travel: Its dispatches and combines in one direction.
    ///   - communication: A transfer to a neighbour.
    package init(
        _ schedule: Schedule, parts: StepCosts, travel: Double, communication: Double,
        overlaps: Bool
    ) {
        self.travel = travel
        // What is not hidden waits for its travel; a backward travels as often as a forward.
        costs = StepCosts(
            forward: parts.forward + travel, backwardInput: parts.backwardInput + travel,
            backwardWeight: parts.backwardWeight, communication: communication)
        if overlaps { costs.overlapped = max(parts.forward + parts.backward, 2 * travel) }
        let result = schedule.simulate(costs)
        makespan = result.makespan
        bubble = result.bubbles.max() ?? 0
    }
}

extension Layout {
    /// - Throws: `PlanError.sizes` for counts that the schedule cannot serve.
    package func trainingTimes() throws(PlanError) -> TrainingTimes {
        let schedule: Schedule
        do {
            schedule = try request.schedule.schedule(
                ranks: request.pp, microBatches: request.batch)
        } catch {
            throw .sizes(
                option: "--pp \(request.pp) --batch \(request.batch):", fact: "\(error)")
        }
        let share = Double(request.pp) / Double(schedule.stageCount)
        let (parts, travel) = stageTimes
        var times = TrainingTimes(
            schedule, parts: parts.scaled(by: share), travel: travel * share,
            communication: Double(2 * request.context * request.model.hidden)
                / Double(request.tp) / rates.reachedByNIC,
            overlaps: request.overlaps)
        // Of a whole stage, however the schedule cuts it.
        times.costs = times.costs.scaled(by: 1 / share)
        times.travel = travel
        times.optimizer = optimizerSeconds
        return times
    }

    /// A stage's parts for one sequence, without travel, and its travel in one direction.
    package var stageTimes: (parts: StepCosts, travel: Double) {
        let compute = Compute(self)
        let model = request.model
        let tokens = Double(request.context)
        let own = tokens / Double(request.tp)
        // Stages are taken as equal: layers and the head are shared out evenly.
        let stages = Double(request.pp)
        let moe = Double(model.expertLayers) / stages
        let dense = Double(model.denseLayers) / stages
        let products =
            (moe + dense)
            * (compute.projections(tokens: tokens) + joiningSeconds(tokens: tokens))
            + moe * compute.experts(tokens: own) + dense * compute.dense(tokens: tokens)
            + compute.head(tokens: tokens) / stages
        let core = (moe + dense) * compute.causalCore(tokens: tokens, sequence: tokens)
        // The backward has the products twice, once for inputs and once for weights; attention's
        // core has no weights, so its whole backward, twice the forward, is one for inputs.
        let parts = StepCosts(
            forward: products + core, backwardInput: products + 2 * core,
            backwardWeight: products)
        return (parts, moe * exchange(tokens: own).seconds(over: rates))
    }

    private var optimizerSeconds: Double {
        let (experts, others) = parameters
        let state = 12 * (experts + others)
        let bytesPerSecond = processor.memoryBytesPerSecond * processor.memoryEfficiency
        // Gradients in FP32 are summed and shared out, weights are collected in bf16.
        let joined =
            (dp > 1 ? others * 6 : 0) + (dp * request.tp > ep ? experts * 6 : 0)
        return state / bytesPerSecond + joined / rates.reachedByNIC
    }
}
