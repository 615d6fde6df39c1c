import Topology

/// How a job that says so (`rebalance`) places its experts anew by itself.
///
/// A loss and a return need an epoch too, so it leaves them half of those that there are; and it
/// waits longer each time that ranks do not manage to take what was placed.
extension Membership {
    /// Searches for a better placement, and what became of them.
    struct Searches: Sendable {
        /// When a better placement was last searched for, or dropped.
        var last: Duration
        /// Placements that were dropped since one was taken.
        var dropped = 0
        /// Whether the log says that no more epochs are left for it.
        var isOver = false
        /// Ranks whose counts are of another shape, as the log says.
        var misfits: Set<Rank> = []

        /// How many times as long to wait for the next search.
        var patience: Int { 1 << min(5, dropped) }
    }

    /// The last epoch that begins by itself.
    static let lastRebalancing = ExpertMap.maximumEpoch / 2

    /// Adds what a rank counted. What does not fit the model is left out: it harms no text.
    mutating func counted(
        _ id: ConnectionID, _ counts: ExpertCounts, _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        let group = group(of: rank)
        guard loads.indices.contains(group) else { return [] }
        do {
            try loads[group].add(counts, now: now)
        } catch {
            guard searches.misfits.insert(rank).inserted else { return [] }
            return [.warn("what \(rank) counts is left out: \(error)")]
        }
        return []
    }

    /// Searches for a better placement where it is time to: one that relieves the busiest ranks by
    /// at least 2%, after enough tokens to be sure.
    ///
    /// It takes milliseconds per ten layers, so it may run between two frames.
    mutating func rebalance(_ now: Duration) -> [Action] {
        guard let interval = configuration.rebalanceInterval, goesOn,
            now - searches.last >= interval * searches.patience
        else { return [] }
        searches.last = now
        guard lastNumber < Self.lastRebalancing else { return endRebalancing() }
        for group in loads.indices {
            loads[group].decay(to: now)
            guard let better = betterPlacement(ofGroup: group) else { continue }
            let actions = place(better.placements, group: group, now)
            if !actions.isEmpty { return actions }
        }
        return []
    }

    /// A placement that is worth its moves, within the bound of what ranks read at once.
    private func betterPlacement(ofGroup group: Int) -> Rebalancing? {
        let tokens = loads[group].tokens
        guard let present = livingPlacements(ofGroup: group) else { return nil }
        let most = tokens.map { $0.reduce(0, +) }.max() ?? 0
        guard most >= Self.leastTokens * Double(loads[group].tokens.first?.count ?? 0) else {
            return nil
        }
        let copies = present.slots.reduce(0, +) * present.placements.count
        guard
            let better = try? Rebalancing.balanced(
                from: present.placements, loads: tokens, slots: present.slots,
                maximumMoves: max(1, copies / Self.movedPart),
                nodes: nodes(of: living(inGroup: group))),
            better.before - better.after >= Self.leastGain
        else { return nil }
        return try? present.whole(better)
    }

    private mutating func endRebalancing() -> [Action] {
        guard !searches.isOver else { return [] }
        searches.isOver = true
        return [
            .warn(
                "no placement begins by itself after epoch \(lastNumber): the limit is"
                    + " \(Self.lastRebalancing) of \(ExpertMap.maximumEpoch), so that losses and"
                    + " returns have epochs left")
        ]
    }

    /// Choices of a layer per expert: below, loads are chance.
    private static let leastTokens = 32.0
    /// Of the mean load: less is not worth reading weights for.
    private static let leastGain = 0.02
    /// One in so many copies of a group moves at once, at most: ranks hold old and new ones
    /// together until they change over.
    private static let movedPart = 4
}
