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

    func result(
        _ outcome: SimulatedCluster.Outcome<SimulatedTrainer.Ending>, own: Simulation,
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
        _ outcome: SimulatedCluster.Outcome<SimulatedTrainer.Ending>, step: Double
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
    private func findings(
        _ outcome: SimulatedCluster.Outcome<SimulatedTrainer.Ending>, step: Double
    ) -> [String] {
        let nodes = cluster.links.nodes
        var findings: [ExchangeDiagnosis.Finding] = []
        for stage in 0 ..< options.stages {
            let members = outcome.seen.filter { $0.rank.rawValue / options.groupSize == stage }
            for half in [ExchangeRecord.Kind.dispatch, .combine] {
                let samples = members.map { rank, ending in
                    ending.samples.joined().filter { $0.half == half }
                        .map { $0.sample(of: rank, node: nodes[rank.rawValue]) }
                }
                findings += ExchangeDiagnosis.findings(ofRanks: samples, half: half.rawValue)
            }
        }
        findings +=
            ExchangeDiagnosis(
                half: "the step's end",
                outcome.seen.map { rank, ending in
                    ExchangeDiagnosis.Sample(
                        rank: rank, node: nodes[rank.rawValue], began: start,
                        computed: ending.computed, nanoseconds: UInt64(step * 1e9), lastAwaited: nil
                    )
                }
            ).findings
        return findings.map { "\($0)" }
    }

    private func history(
        _ outcome: SimulatedCluster.Outcome<SimulatedTrainer.Ending>
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
        ]
    }
}
