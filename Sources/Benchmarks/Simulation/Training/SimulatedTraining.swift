import Collectives
package import Pipeline
import Planner
import Tensors
import Topology
import Transport

/// One training step in virtual time: the product's executor, channels and all-to-all.
package struct SimulatedTraining {
    private let options: TrainingSimulationOptions
    private let cluster: SimulatedCluster
    private let schedule: Schedule
    private let rates: LinkRates

    /// Checks the options.
    ///
    /// - Throws: `SimulationError`, `TopologyError` or `PlanError` with the option, its value and
    ///   its limit.
    package init(_ options: TrainingSimulationOptions) throws {
        self.options = options
        schedule = try options.schedule()
        let exchanges = options.exchanges
        cluster = SimulatedCluster(options: exchanges, links: try exchanges.links())
        rates = try LinkRates(exchanges.map, file: exchanges.file)
    }

    /// What a step came to, and what every rank did when.
    package struct Traced: Sendable {
        package let result: TrainingSimulationResult
        /// The schedule's own simulation, then the step; in seconds.
        package let timelines: [Timeline]
    }

    /// Runs one step.
    ///
    /// - Parameter progress: Gets the forwards and backwards of cells that are done, and all of
    ///   them; any thread calls it.
    package func traced(
        progress: @escaping @Sendable (_ done: Int, _ of: Int) -> Void = { _, _ in }
    ) throws -> Traced {
        let simulation = try cluster.fabric(settling: SimulatedComputing.settling)
        let size = options.groupSize
        let count = cluster.options.rankCount
        let experts = try (0 ..< options.stages).flatMap { stage in
            try simulation.group(
                (stage * size ..< (stage + 1) * size).map { Rank(rawValue: $0) })
        }
        let columns = try (0 ..< size).map { column in
            try simulation.group(
                stride(from: column, to: count, by: size).map { Rank(rawValue: $0) })
        }
        let pipelines = (0 ..< count).map { columns[$0 % size][$0 / size] }
        let layers = try routings()
        let start = SimulatedComputing.start(after: simulation)
        let (options, schedule, network) = (options, schedule, simulation.network)
        let cells = schedule.stageCount * schedule.microBatchCount * size
        let counter = SimulationProgress(total: 2 * cells, report: progress)
        let endings = try simulation.run { fabric in
            let rank = fabric.rank.rawValue
            let one = SimulatedTrainer(
                options: options, schedule: schedule, network: network, fabric: fabric,
                experts: experts[rank], pipeline: pipelines[rank], start: start, progress: counter)
            return try one.run(layers.map { $0[rank] })
        }
        simulation.close()
        return result(try cluster.outcome(of: endings), start: start)
    }

    /// By block, then by rank.
    private func routings() throws -> [[Routing]] {
        let exchanges = cluster.options
        return try (0 ..< options.blocks).map { block in
            let draw = RoutingDraw(exchanges, round: block)
            return try (0 ..< exchanges.rankCount).map { rank in
                try Routing(
                    tokenCount: exchanges.tokenCount, topK: exchanges.topK,
                    expertIDs: draw.experts(of: rank))
            }
        }
    }

    private func result(
        _ outcome: SimulatedCluster.Outcome<SimulatedTrainer.Ending>, start: UInt64
    ) -> Traced {
        let parts = options.times.stage(options.blocks)
        // A pair runs its weight gradients last: what its neighbours need has left by then.
        let own = schedule.simulate(
            communication: 0, lead: { _, _, _ in parts.backwardWeight },
            duration: { parts.duration(of: $1) })
        let nodes = Set((0 ..< options.groupSize).map { cluster.links.nodes[$0] }).count
        let travel = PlannedTravel(
            cluster.options, tokens: Double(cluster.options.tokenCount), nodes: nodes, rates: rates)
        let planned = TrainingTimes(
            schedule, parts: parts, travel: Double(options.blocks) * travel.seconds,
            communication: Double(2 * cluster.options.tokenCount * cluster.options.hiddenSize)
                / rates.reachedByNIC,
            overlaps: true)
        let entries = outcome.seen.flatMap(\.value.entries).map {
            $0.moved(by: -Double(start) / 1e9)
        }
        let timeline = Timeline(
            title: "\(schedule.kind.title), simulated", rankCount: cluster.options.rankCount,
            entries: entries)
        let writer = TrainingResultWriter(
            options: options, cluster: cluster, schedule: schedule, start: start)
        return Traced(
            result: writer.result(
                outcome, own: own, planned: planned,
                fixed: Double(options.blocks) * travel.fixedSeconds),
            timelines: [own.timeline, timeline])
    }
}
