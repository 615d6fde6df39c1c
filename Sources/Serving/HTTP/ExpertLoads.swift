import Encoding
import Synchronization

/// The answer of `/experts`, computed at most once in some seconds however many ask for it.
final class ExpertLoads: Sendable {
    private struct Answer {
        var json: JSONValue
        var made: ContinuousClock.Instant
    }

    /// Loads are means of minutes, and placements are solved for each answer.
    private static let lifetime = Duration.seconds(3)

    private let lane: WorkLane
    private let latest = Mutex<Answer?>(nil)

    /// - Parameter lane: Where answers are made, behind everything that computes for texts.
    init(on lane: WorkLane) { self.lane = lane }

    /// The loads of all groups, as they were seconds ago at most.
    func json(of router: any RequestRouter) async throws -> JSONValue {
        // Whoever waits for the lane finds the answer of who was before.
        try await lane.run(for: "") { [self] in
            if let answer = latest.withLock({ $0 }), answer.made + Self.lifetime > .now {
                return answer.json
            }
            // Others count none.
            let loads = (router as? any ExpertCounting)?.expertLoads() ?? []
            let groups = loads.filter { !$0.ranks.isEmpty && !$0.loads.isEmpty }
            let json: JSONValue = ["groups": .array(groups.map { $0.json() })]
            latest.withLock { $0 = Answer(json: json, made: .now) }
            return json
        }
    }
}
