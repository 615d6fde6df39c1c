import Encoding
import NIOCore
import Synchronization

/// The answer of `/experts`, made at most once in some seconds however many ask for it.
final class ExpertLoads: Sendable {
    private struct Answer {
        var text: ByteBuffer
        var made: ContinuousClock.Instant
    }

    /// Loads are means of minutes, and placements are solved for each answer.
    private static let lifetime = Duration.seconds(3)

    private let lane: WorkLane
    private let latest = Mutex<Answer?>(nil)

    /// - Parameter lane: Where answers are made, behind everything that computes for texts.
    init(on lane: WorkLane) { self.lane = lane }

    /// JSON: the loads of all groups, as they were seconds ago at most.
    func text(of router: any RequestRouter) async throws -> ByteBuffer {
        // Whoever waits for the lane finds the answer of who was before.
        try await lane.run(for: "") { [self] in
            if let answer = latest.withLock({ $0 }), answer.made + Self.lifetime > .now {
                return answer.text
            }
            // Others count none.
            let loads = (router as? any ExpertCounting)?.expertLoads() ?? []
            let groups = loads.filter { !$0.ranks.isEmpty && !$0.loads.isEmpty }
            let json: JSONValue = ["groups": .array(groups.map { $0.json() })]
            let text = ByteBuffer(string: json.text)
            latest.withLock { $0 = Answer(text: text, made: .now) }
            return text
        }
    }
}
