import Collectives
import Language
import Serving
import Topology
import Transport

/// One rank of a simulated server: the product's engine, scheduler, barrier of steps and
/// all-to-all around a model that computes in virtual time.
struct SimulatedServer {
    /// What one rank brings home.
    struct Ending: Sendable {
        var progress: [Engine.Progress] = []
        var samples: [HalfSample] = []
        var recorder: RankRecorder?
        var computed: UInt64 = 0
        var steps: UInt64 = 0
        /// What links had carried at the begin and at the end, as far as this rank had come.
        var carried: [[Double]] = []
    }

    let options: ServingSimulationOptions
    let network: SimulatedNetwork
    /// When all ranks begin, in nanoseconds of the virtual clock.
    let start: UInt64
    let progress: SimulationProgress

    /// Writes the rank's texts. A rank that cannot go on leaves, as a worker does.
    func run(_ fabric: any Fabric) throws -> Ending {
        do {
            return try serve(fabric)
        } catch {
            fabric.close()
            throw error
        }
    }

    private func serve(_ fabric: any Fabric) throws -> Ending {
        let computing = SimulatedComputing(options.exchanges, on: fabric)
        let configuration = options.configuration
        let barrier = try StepBarrier(fabric: fabric, limit: configuration.limit)
        let map = try ExpertMap.contiguous(
            expertCount: options.cluster.expertCount, rankCount: fabric.rankCount)
        let shared = try fabric.rankCount > 1 ? group(fabric, map, computing) : nil
        let model = SimulatedModel(
            options, computing: computing, shared: shared, map: map, progress: progress)
        let engine = Engine(barrier: barrier, map: map, configuration: options.engine)
        try fabric.barrier(deadline: fabric.deadline(configuration.limit, "the simulation's begin"))
        try computing.wait(until: start)
        var ending = Ending()
        ending.carried.append(network.carriedBytes)
        ending.progress = try engine.generate(requests(fabric.rank), with: model, records: true)
        ending.samples = shared?.samples ?? []
        ending.recorder = engine.recorder
        ending.computed = computing.total
        ending.steps = engine.statistics.steps
        try fabric.barrier(deadline: fabric.deadline(configuration.limit, "the simulation's end"))
        ending.carried.append(network.carriedBytes)
        return ending
    }

    private func group(
        _ fabric: any Fabric, _ map: ExpertMap, _ computing: SimulatedComputing
    ) throws -> SimulatedGroup {
        let group = try ExpertParallelGroup(
            fabric: fabric, configuration: options.configuration, map: map)
        return SimulatedGroup(
            options.exchanges, group, members: fabric.ranks, on: fabric, computing: computing)
    }

    private func requests(_ rank: Rank) -> [GenerationRequest] {
        (0 ..< options.streams).map { index in
            let number = rank.rawValue * options.streams + index
            var request = GenerationRequest(
                id: RequestID(rawValue: UInt64(number + 1)),
                prompt: Array(repeating: number % 16, count: options.prompt),
                maxNewTokens: options.newTokens)
            request.sampling = .greedy
            return request
        }
    }
}
