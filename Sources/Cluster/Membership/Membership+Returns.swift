import Topology

/// How a rank that was lost takes part again, without a step that waits for it.
///
/// ```
///   lost ──► arrived ──► it says that it is ready ──► candidate ── every rank reaches it ──► back
///    ▲          │ closes       │ while another                │ a rank does not, or too late
///    └──────────┴──────────────┴─ candidate waits             └──► dismissed
/// ```
///
/// The candidate's epoch has a number of its own. The ranks meet for it while they serve in the
/// present one; a loss in between makes it void, and the candidate waits for the next.
extension Membership {
    /// A rank about to come back, and who reaches it.
    struct Candidate: Sendable {
        let rank: Rank
        let number: UInt64
        let since: Duration
        var prepared: Set<Rank> = []
    }

    /// For the ranks to meet while they serve.
    static let candidateLimit = Duration.seconds(20)

    /// Lets the ranks meet for an epoch with the next rank that is ready to come back.
    mutating func prepare(_ now: Duration) -> [Action] {
        guard goesOn, candidate == nil, !isRecovering, lastNumber < ExpertMap.maximumEpoch,
            let place = members.firstIndex(where: {
                $0.loss != nil && $0.connection != nil && $0.phase == .ready
            })
        else { return [] }
        lastNumber += 1
        let rank = Rank(rawValue: place)
        candidate = Candidate(rank: rank, number: lastNumber, since: now)
        let next = JobEpoch(
            number: lastNumber, living: (living(with: rank) + [rank]).sorted())
        return next.living.compactMap { connection(of: $0) }.map { .prepare($0, next) }
    }

    mutating func prepared(
        _ id: ConnectionID, _ number: UInt64, _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        guard candidate?.number == number else { return [] }
        candidate?.prepared.insert(rank)
        guard let candidate,
            candidate.prepared.isSuperset(of: living(with: candidate.rank) + [candidate.rank])
        else { return [] }
        members[candidate.rank.rawValue].loss = nil
        members[candidate.rank.rawValue].lastError = nil
        let ranks = living(with: candidate.rank)
        return [.returned(candidate.rank, recovering: ranks)]
            + begin(candidate.number, ranks, now)
    }

    mutating func notPrepared(
        _ id: ConnectionID, _ number: UInt64, _ reason: String, _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id], let candidate, candidate.number == number else { return [] }
        return lose(
            candidate.rank, reason: "\(rank) does not reach the others: \(reason)", now)
    }
}
