import Encoding
import NIOCore
import Synchronization
import Topology

/// The answer of `/traffic`, made at most once a second however many ask for it.
final class TrafficRates: Sendable {
    /// The same matrix for those who may know the machines' names, and for all others.
    private struct Answer {
        var named: ByteBuffer
        var numbered: ByteBuffer
    }

    private struct State {
        var answer: Answer?
        var last: TrafficMatrix.Sample?
        /// What all who ask now wait for.
        var running: Task<Answer, any Error>?
    }

    /// Rates are means of at least so long.
    private static let shortest = Duration.seconds(1)
    /// A sample older than this is none: who asks now wants to know what happens now.
    private static let longest = Duration.seconds(10)

    private let lane: WorkLane
    private let state = Mutex(State())

    /// - Parameter lane: Where answers are made, behind everything that computes for texts.
    init(on lane: WorkLane) { self.lane = lane }

    /// JSON: who sends how much to whom, as it was a second ago at most. The first who asks waits
    /// for that second.
    ///
    /// - Parameter namesNodes: False for a caller who may not know the machines' names.
    func text(of router: any RequestRouter, namesNodes: Bool) async throws -> ByteBuffer {
        let task = state.withLock { state -> Task<Answer, any Error> in
            if let running = state.running { return running }
            let task = Task {
                defer { self.state.withLock { $0.running = nil } }
                return try await current(router)
            }
            state.running = task
            return task
        }
        let answer = try await task.value
        return namesNodes ? answer.named : answer.numbered
    }

    private func current(_ router: any RequestRouter) async throws -> Answer {
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
        // As many numbers as pairs of ranks: the threads that write streams do not make texts.
        let made = try await lane.run(for: "") {
            Answer(
                named: ByteBuffer(string: matrix.json(namesNodes: true).text),
                numbered: ByteBuffer(string: matrix.json(namesNodes: false).text))
        }
        state.withLock { ($0.answer, $0.last) = (made, now) }
        return made
    }

    private static func sample(_ router: any RequestRouter) async -> TrafficMatrix.Sample {
        TrafficMatrix.Sample(await router.statistics(), at: .now)
    }
}
