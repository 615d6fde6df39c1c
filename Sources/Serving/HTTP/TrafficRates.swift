import Encoding
import Synchronization
import Topology

/// The answer of `/traffic`, computed at most once a second however many ask for it.
final class TrafficRates: Sendable {
    private struct State {
        var answer: JSONValue?
        var last: TrafficMatrix.Sample?
        /// What all who ask now wait for.
        var running: Task<JSONValue, any Error>?
    }

    /// Rates are means of at least so long.
    private static let shortest = Duration.seconds(1)
    /// A sample older than this is none: who asks now wants to know what happens now.
    private static let longest = Duration.seconds(10)

    private let lane: WorkLane
    private let state = Mutex(State())

    /// - Parameter lane: Where answers are made, behind everything that computes for texts.
    init(on lane: WorkLane) { self.lane = lane }

    /// Who sends how much to whom, as it was a second ago at most; the first who asks waits for
    /// that second.
    func json(of router: any RequestRouter) async throws -> JSONValue {
        let task = state.withLock { state -> Task<JSONValue, any Error> in
            if let running = state.running { return running }
            let task = Task {
                defer { self.state.withLock { $0.running = nil } }
                return try await answer(router)
            }
            state.running = task
            return task
        }
        return try await task.value
    }

    private func answer(_ router: any RequestRouter) async throws -> JSONValue {
        let (answer, last) = state.withLock { ($0.answer, $0.last) }
        let age = last.map { $0.at.duration(to: .now) } ?? .zero
        if let answer, age < Self.shortest { return answer }
        var before = last
        if before == nil || age > Self.longest {
            before = await Self.sample(router)
            try await Task.sleep(for: Self.shortest)
        }
        let now = await Self.sample(router)
        let groups = (router as? any ExpertCounting)?.expertLoads() ?? []
        let nodes = Dictionary(
            groups.flatMap { zip($0.ranks.map(\.rawValue), $0.nodeNames) }
        ) { $1 }
        let matrix = TrafficMatrix(from: before ?? now, to: now, nodes: nodes)
        // As many numbers as pairs of ranks: the threads that write streams do not make the text.
        let json = try await lane.run(for: "") { matrix.json() }
        state.withLock { ($0.answer, $0.last) = (json, now) }
        return json
    }

    private static func sample(_ router: any RequestRouter) async -> TrafficMatrix.Sample {
        TrafficMatrix.Sample(await router.statistics(), at: .now)
    }
}
