import Collectives
import Encoding
import Pipeline
import Planner
import Topology

/// Puts together what the ranks of a simulated step brought home.
struct TrainingResultWriter {
    let options: TrainingSimulationOptions
    let cluster: SimulatedCluster
    let schedule: Schedule
    /// When the step began, in nanoseconds of the virtual clock.
    let start: UInt64

    typealias Outcome = SimulatedCluster.Outcome<SimulatedTrainer.Ending>

    func result(
        _ outcome: Outcome, own: Simulation,
        planned: TrainingTimes, fixed: Double
    ) -> TrainingSimulationResult {
        let compute = outcome.seen.flatMap(\.value.entries).filter { $0.lane == .compute }
        let end = compute.map(\.end).max() ?? Double(start) / 1e9
        let step = end - Double(start) / 1e9
        let ranks = outcome.seen.map { rank, ending in
            let busy = ending.entries.filter { $0.lane == .compute }
                .reduce(0) { $0 + $1.end - $1.start }
            let samples = ending.samples.joined()
            return TrainingSimulationResult.RankTimes(
                rank: rank.rawValue, stage: rank.rawValue / options.groupSize,
                computeSeconds: Double(ending.computed) / 1e9, bubbleSeconds: step - busy,
                scheduleBubbleSeconds: own.bubbles[rank.rawValue / options.groupSize],
                travelSeconds: samples.reduce(0) { $0 + Double($1.ended - $1.began) } / 1e9,
                exposedSeconds: samples.reduce(0) { $0 + Double($1.exposed) } / 1e9)
        }
        return TrainingSimulationResult(
            topology: cluster.options.map.name, rankCount: cluster.options.rankCount,
            stages: options.stages, groupSize: options.groupSize, schedule: schedule.kind,
            microBatches: schedule.microBatchCount, blocks: options.blocks,
            tokens: cluster.options.tokenCount, seed: cluster.options.seed, stepSeconds: step,
            scheduleSeconds: own.makespan, plannedSeconds: planned.makespan,
            exchangeSeconds: fixed, ranks: ranks, links: links(outcome, step: step),
            findings: outcome.losses.isEmpty ? findings(outcome, step: step) : [],
            losses: outcome.losses, history: history(outcome), leftOut: leftOut)
    }

    private func links(
        _ outcome: Outcome, step: Double
    ) -> [SimulationResult.LinkUse] {
        let carried = SimulatedCluster.most(of: outcome.seen.map(\.value.carried))
        guard carried.count == 2 else { return [] }
        return Array(
            SimulationResult.uses(
                cluster.links, half: "step", carried: zip(carried[1], carried[0]).map { $0 - $1 },
                nanoseconds: UInt64(step * 1e9)
            ).prefix(SimulationResult.linksPerHalf))
    }

    /// Straggler and slow link, exchange by exchange of every stage; and the rank that computed
    /// longer than the others in the whole step.
    ///
    /// Ranks that get their activations late begin their exchanges late. So where the whole step
    /// has a straggler, those who wait for such ranks say nothing of links.
    private func findings(_ outcome: Outcome, step: Double) -> [String] {
        let stages = (0 ..< options.stages).flatMap { findings(of: outcome, stage: $0) }
        let whole = ExchangeDiagnosis(
            half: "the step's end",
            outcome.seen.map { rank, ending in
                ExchangeDiagnosis.Sample(
                    rank: rank, node: cluster.links.nodes[rank.rawValue], began: start,
                    computed: ending.computed, nanoseconds: UInt64(step * 1e9), lastAwaited: nil)
            }
        ).findings
        guard !whole.isEmpty else { return stages.map { "\($0)" } }
        let stragglers = stages.filter { if case .straggler = $0 { true } else { false } }
        return (stragglers + whole).map { "\($0)" }
    }

    private func findings(of outcome: Outcome, stage: Int) -> [ExchangeDiagnosis.Finding] {
        let members = outcome.seen.filter { $0.rank.rawValue / options.groupSize == stage }
        return [ExchangeRecord.Kind.dispatch, .combine].flatMap { half in
            let samples = members.map { rank, ending in
                ending.samples.joined().filter { $0.half == half }
                    .map { $0.sample(of: rank, node: cluster.links.nodes[rank.rawValue]) }
            }
            return ExchangeDiagnosis.findings(ofRanks: samples, half: half.rawValue)
        }
    }

    private func history(
        _ outcome: Outcome
    ) -> String {
        var history = FNV1a()
        for (rank, ending) in outcome.seen {
            history.add(UInt64(rank.rawValue))
            for entry in ending.entries {
                history.add(entry.start.bitPattern)
                history.add(entry.end.bitPattern)
            }
        }
        for loss in outcome.losses { for byte in loss.utf8 { history.add(UInt64(byte)) } }
        return String(history.value, radix: 16)
    }

    private var leftOut: [String] {
        SimulationWriter.leftOut(cluster.options) + [
            "transfers between stages inside a node, which take no time",
            "the optimizer, the joining of gradients, the embedding and the head",
            "values: rows are zeros (apus simulate all-to-all checks every byte)",
            SimulationWriter.leftOutOfTraces,
        ]
    }
}
