import Collectives
import Encoding
import Tensors
import Topology
import Transport

/// One rank of a simulated exchange: the calls of a real one, between virtual computing.
struct SimulatedRank {
    /// What one rank saw of one half.
    struct Seen: Sendable {
        /// In nanoseconds of virtual time.
        let began: UInt64
        let computed: UInt64
        let ended: UInt64
        let lastAwaited: Rank?
    }

    /// What one rank brings home.
    struct Ending: Sendable {
        var dispatch: Seen?
        var combine: Seen?
        var wrong = 0
        /// What links had carried at the begin, between the halves, and at the end, as
        /// far as this rank had come.
        var carried: [[Double]] = []
    }

    let options: SimulationOptions
    let network: SimulatedNetwork
    /// Of all ranks.
    let routings: [Routing]

    /// Runs one dispatch and combine. A rank that cannot go on leaves, as a worker does.
    func run(_ fabric: any Fabric) throws -> Ending {
        do {
            return try exchange(fabric)
        } catch {
            fabric.close()
            throw error
        }
    }

    private func exchange(_ fabric: any Fabric) throws -> Ending {
        let configuration = options.configuration
        let map = try ExpertMap.contiguous(
            expertCount: options.expertCount, rankCount: fabric.rankCount)
        let group = try ExpertParallelGroup(fabric: fabric, configuration: configuration, map: map)
        let rows = TestRows(
            hidden: options.hiddenSize, codec: options.dispatchCodec, seed: options.seed)
        var shape = AllToAllOptions(path: .library)
        shape.tokenCount = options.tokenCount
        shape.hiddenSize = options.hiddenSize
        shape.dispatchCodec = options.dispatchCodec
        let oracle = Oracle(
            rows: rows, ranks: OracleRanks(rank: fabric.rank, nodes: group.nodes),
            configuration: configuration, map: map, storedCodec: shape.storedCodec)
        oracle.use(routings)
        let library = LibraryRows(shape)
        library.fill(rows, round: 0, rank: fabric.rank, tokenCount: options.tokenCount)

        var ending = Ending()
        let factor = options.stragglers[fabric.rank] ?? 1
        try meet(fabric, &ending)
        var computed = compute(factor, on: fabric)
        let start = fabric.clock.nanoseconds
        let received = try library.dispatch(routings[fabric.rank.rawValue], group, map).wait()
        let reads = NodeReads(options, group, fabric)
        let nearRows = reads.rows(of: received)
        reads.pass(nearRows, options.dispatchCodec, since: start)
        ending.dispatch = seen(group, since: start, computed, on: fabric)
        try meet(fabric, &ending)
        ending.wrong += try oracle.wrongTokens(in: received, round: 0)
        try oracle.writeOutputs(of: received, round: 0)

        computed = compute(factor, on: fabric)
        let restart = fabric.clock.nanoseconds
        try library.finish(library.combine(received, group))
        reads.pass(nearRows, .bfloat16, since: restart)
        ending.combine = seen(group, since: restart, computed, on: fabric)
        try meet(fabric, &ending)
        ending.wrong += oracle.wrongSums(in: library.sums(), round: 0)
        return ending
    }

    private func meet(_ fabric: any Fabric, _ ending: inout Ending) throws {
        // The last rank that comes has seen all of the half, and nobody has gone on by then.
        ending.carried.append(network.carriedBytes)
        try fabric.barrier(
            deadline: fabric.deadline(options.configuration.limit, "the simulation's barrier"))
    }

    private func compute(_ factor: Double, on fabric: any Fabric) -> UInt64 {
        let begin = fabric.clock.nanoseconds
        SimulatedFabric.compute(options.compute * factor, on: fabric)
        return fabric.clock.nanoseconds - begin
    }

    private func seen(
        _ group: ExpertParallelGroup, since start: UInt64, _ computed: UInt64,
        on fabric: any Fabric
    ) -> Seen {
        let end = fabric.clock.nanoseconds
        return Seen(
            began: start, computed: computed, ended: end,
            lastAwaited: group.records.last?.lastAwaited(in: end - start))
    }
}
