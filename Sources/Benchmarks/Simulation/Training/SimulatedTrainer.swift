import Collectives
import Pipeline
import Tensors
import Topology
import Transport

/// One rank of a simulated training step.
struct SimulatedTrainer {
    /// What one rank brings home.
    struct Ending: Sendable {
        /// What it did, in seconds of the virtual clock.
        var entries: [TimelineEntry] = []
        /// Of the forward's group, then of the backward's.
        var samples: [[HalfSample]] = []
        /// All that it computed, in nanoseconds.
        var computed: UInt64 = 0
        /// What links had carried at the begin and at the end, as far as this rank had come.
        var carried: [[Double]] = []
    }

    let options: TrainingSimulationOptions
    let schedule: Schedule
    let network: SimulatedNetwork
    /// Of all ranks, of those that share the rank's experts, and of those of its pipeline.
    let fabric: any Fabric
    let experts: any Fabric
    let pipeline: any Fabric
    /// When all ranks begin, in nanoseconds of the virtual clock.
    let start: UInt64
    let progress: SimulationProgress

    /// Performs the rank's steps. A rank that cannot go on leaves, as a worker does.
    ///
    /// - Parameter routings: By block.
    func run(_ routings: [Routing]) throws -> Ending {
        do {
            return try step(routings)
        } catch {
            throw leave(after: error)
        }
    }

    /// Leaves all groups, and names the rank that was lost first: one that leaves because of it is
    /// no cause.
    private func leave(after error: any Error) -> any Error {
        guard let error = error as? TransportError, let named = error.rank else {
            for fabric in [fabric, experts, pipeline] { fabric.close() }
            return error
        }
        let first = fabric.lostRanks.first ?? named
        if !fabric.lostRanks.contains(first) { fabric.markLost(first, cause: "\(error)") }
        for fabric in [fabric, experts, pipeline] { fabric.close() }
        guard first != named, case .rankLost(_, let phase, let cause) = error else { return error }
        return TransportError.rankLost(first, phase: phase, cause: "\(named) left: \(cause)")
    }

    private func step(_ routings: [Routing]) throws -> Ending {
        let computing = SimulatedComputing(options.exchanges, on: fabric)
        let groups = try makeGroups(computing)
        let layouts = try groups.first.map { one in
            let map = try expertMap()
            return try routings.map { try one.group.layout(for: $0, in: map, layer: 0) }
        }
        let worker = SimulatedStages(
            options, computing: computing, groups: groups, layouts: layouts ?? [],
            progress: progress)
        let channels = try Channels(
            fabric: pipeline, name: "stages", channelCount: ChannelLink.channelCount,
            slotCount: ChannelLink.slotCount(schedule),
            maximumCount: worker.boundary.rows * worker.boundary.columns,
            limit: options.configuration.limit)
        let executor = Executor(
            schedule: schedule, rank: pipeline.rank, worker: worker,
            link: ChannelLink(channels, schedule: schedule, codec: .bfloat16),
            clock: fabric.clock)
        try fabric.barrier(
            deadline: fabric.deadline(options.configuration.limit, "the simulation's begin"))
        try computing.wait(until: start)
        var ending = Ending()
        ending.carried.append(network.carriedBytes)
        ending.entries = lanes(try executor.run(), groups)
        ending.computed = computing.total
        ending.samples = groups.map(\.samples)
        // A neighbour may still wait for what was sent.
        try fabric.barrier(
            deadline: fabric.deadline(options.configuration.limit, "the simulation's end"))
        ending.carried.append(network.carriedBytes)
        return ending
    }

    private func expertMap() throws -> ExpertMap {
        try ExpertMap.contiguous(
            expertCount: options.cluster.expertCount, rankCount: experts.rankCount)
    }

    private func makeGroups(_ computing: SimulatedComputing) throws -> [SimulatedGroup] {
        guard experts.rankCount > 1 else { return [] }
        let first = fabric.rank.rawValue - experts.rank.rawValue
        let map = try expertMap()
        return try ["forward", "backward"].map { name in
            let group = try ExpertParallelGroup(
                fabric: experts, configuration: options.configuration, map: map, name: name)
            return SimulatedGroup(
                options.exchanges, group,
                members: experts.ranks.map { Rank(rawValue: first + $0.rawValue) }, on: experts,
                computing: computing)
        }
    }

    /// What the rank did on both lanes, under its number among all ranks.
    private func lanes(
        _ entries: [TimelineEntry], _ groups: [SimulatedGroup]
    ) -> [TimelineEntry] {
        func entry(
            _ kind: TimelineEntry.Kind, _ label: String, _ span: Range<UInt64>
        ) -> TimelineEntry {
            TimelineEntry(
                rank: fabric.rank, lane: TimelineEntry.Lane.communication, kind: kind,
                label: label, start: Double(span.lowerBound) / 1e9,
                end: Double(span.upperBound) / 1e9)
        }
        let samples = groups.flatMap(\.samples)
        let travel = samples.map { entry(.transfer, $0.half.rawValue, $0.began ..< $0.ended) }
        // Drawn last, over what they are a part of.
        let waits = samples.flatMap { sample in
            sample.waits.map { entry(.exposed, "wait for \(sample.half.rawValue)", $0) }
        }
        return entries.map { $0.of(fabric.rank) } + travel + waits
    }
}
