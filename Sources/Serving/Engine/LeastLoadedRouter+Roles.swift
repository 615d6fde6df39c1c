import Synchronization
import Topology

/// A router that knows which ranks prefill and which decode at present.
protocol RoleCounting {
    /// The roles; nil for ranks that all do the same.
    func roles() -> RankRoles?
}

/// Which ranks prefill and which decode.
struct RankRoles: Hashable, Sendable {
    var prefill: [Int]
    var decode: [Int]
    /// Times that a group got the other role.
    var changes: UInt64
}

extension LeastLoadedRouter: RoleCounting {
    func roles() -> RankRoles? {
        state.withLock { state in
            let handovers = state.handovers
            guard !handovers.groups.isEmpty else { return nil }
            return RankRoles(
                prefill: handovers.prefill, decode: handovers.decode,
                changes: handovers.assignment?.changeCount ?? 0)
        }
    }

    /// Lets the roles follow the load for as long as this router is there.
    func followLoad(every pause: Duration) {
        Task { [weak self] in
            let begin = ContinuousClock.now
            while !Task.isCancelled {
                do { try await Task.sleep(for: pause) } catch { return }
                guard let self else { return }
                followLoad(now: .now - begin)
            }
        }
    }

    private func followLoad(now: Duration) {
        let texts = streams.load(rankCount: rankCount)
        let followed = state.withLock { state in
            let slots = state.capacities.map { min($0.runningLimit, Self.mostSlots) }
            return state.handovers.follow(texts: texts, slots: slots, now: now)
        }
        guard let (change, actions) = followed else { return }
        tell(actions)
        rolesChanged(change)
    }

    /// Of a rank that has not said how many texts it takes.
    private static let mostSlots = 1 << 20
}
