import Encoding
import Topology

/// How a rank that was lost takes part again, without a step that waits for it.
///
/// ```
///   lost ──► arrived ──► it says that it is ready ──► candidate ── every rank reaches it ──► back
///    ▲          │ closes       │ while another                │ a rank does not, or too late
///    └──────────┴──────────────┴─ candidate waits             └──► dismissed
/// ```
///
/// The candidate's epoch has a number of its own. The ranks meet for it, and read the experts that
/// come to them in it, while they serve in the present one; a loss in between makes it void, and
/// the candidate waits for the next.
///
/// Ranks of a group that is gone read what they hold when all are there, and come back together:
/// one alone would need memory for the whole model. They wait for each other, but no longer than
/// `recoveryLimit` from when the first of them is ready.
///
/// A rank for which machines have no memory keeps what it loaded, and tries again after a while, or
/// once other ranks take part: to start it anew would load all of it again for the same answer.
extension Membership {
    /// An epoch that is being prepared, and who is ready for it.
    struct Candidate: Sendable {
        /// What is different in it.
        enum Purpose: Sendable {
            /// A rank is back, or ranks of a group that was gone.
            case returning([Rank])
            /// The experts of a group are in other places.
            case placements([ExpertPlacement], group: Int)
            /// A rank is gone, because somebody asked for it.
            case draining(Rank)
        }

        let purpose: Purpose
        let number: UInt64
        var since: Duration
        /// Where the experts of the group are once a rank is back; nil where nothing changes.
        var fitted: [ExpertPlacement]?
        var prepared: Set<Rank> = []

        /// The ranks that are about to come back.
        var returning: [Rank] {
            if case .returning(let ranks) = purpose { return ranks }
            return []
        }
    }

    /// Since when, and how often, a rank found no memory to come back.
    struct MemoryWait: Sendable {
        var until: Duration
        var count: Int
    }

    /// From one attempt to come back to the next, where machines have no memory for it: twice as
    /// long each time, as each lets ranks meet and speak.
    private static let (firstWait, longestWait) = (Duration.seconds(15), Duration.seconds(240))

    /// For the ranks to meet while they serve.
    static let candidateLimit = Duration.seconds(20)

    /// Those who take part in an epoch that is being prepared.
    func members(of candidate: Candidate) -> [Rank] {
        switch candidate.purpose {
        case .returning(let ranks): (living(with: ranks[0]) + ranks).sorted()
        case .placements(_, let group): living(inGroup: group)
        case .draining(let rank): living(with: rank).filter { $0 != rank }
        }
    }

    /// For the ranks to be ready: reading experts takes as long as it may at the start.
    func limit(of candidate: Candidate) -> Duration {
        switch candidate.purpose {
        // Where all are in their places of before, nobody reads.
        case .returning(let ranks)
        where candidate.fitted == nil
            && members(of: candidate) == self.ranks(ofGroup: group(of: ranks[0])):
            Self.candidateLimit
        case .returning, .placements, .draining: max(Self.candidateLimit, recoveryLimit)
        }
    }

    /// Lets the ranks meet for an epoch with the next ones that are ready to come back.
    mutating func prepare(_ now: Duration) -> [Action] {
        guard goesOn, ending == nil, candidate == nil, !isRecovering,
            lastNumber < ExpertMap.maximumEpoch,
            let ranks = members.indices.compactMap({
                returning(with: Rank(rawValue: $0), now)
            }).first
        else { return [] }
        lastNumber += 1
        var candidate = Candidate(purpose: .returning(ranks), number: lastNumber, since: now)
        candidate.fitted = fitted(back: ranks[0], of: members(of: candidate))
        self.candidate = candidate
        var next = epoch(lastNumber, of: members(of: candidate))
        next.placements = candidate.fitted ?? next.placements
        return next.living.compactMap { connection(of: $0) }.map { .prepare($0, next) }
    }

    /// The ranks that come back in one epoch with a rank that is ready to; nil where it is not, or
    /// waits for others of its group, which is gone.
    ///
    /// A rank that was drained is waited for only once it is on its way.
    private func returning(with rank: Rank, _ now: Duration) -> [Rank]? {
        guard isReadyToReturn(rank, now) else { return nil }
        guard living(with: rank).isEmpty else { return [rank] }
        let all = ranks(ofGroup: group(of: rank))
        let ready = all.filter { isReadyToReturn($0, now) }
        let isComplete = all.allSatisfy {
            let member = members[$0.rawValue]
            return isReadyToReturn($0, now) || member.drain == .left && member.connection == nil
        }
        let first = ready.map { members[$0.rawValue].since }.min() ?? now
        return isComplete || now - first > recoveryLimit ? ready : nil
    }

    private func isReadyToReturn(_ rank: Rank, _ now: Duration) -> Bool {
        let member = members[rank.rawValue]
        return member.loss != nil && member.connection != nil && member.phase == .ready
            && member.wait.map { now >= $0.until } ?? true
    }

    /// Where the experts of a group that was placed anew are once a rank of it is back.
    private func fitted(back rank: Rank, of living: [Rank]) -> [ExpertPlacement]? {
        let group = group(of: rank)
        guard moved[group] != nil, loads.indices.contains(group),
            let place = ranks(ofGroup: group).firstIndex(of: rank)
        else { return nil }
        return try? livingPlacements(ofGroup: group, living: living)?.fitted(
            back: Rank(rawValue: place), slots: slots(ofGroup: group),
            loads: loads[group].tokens)
    }

    mutating func prepared(
        _ id: ConnectionID, _ number: UInt64, _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        guard candidate?.number == number else { return [] }
        candidate?.prepared.insert(rank)
        guard let candidate, candidate.prepared.isSuperset(of: members(of: candidate)) else {
            return []
        }
        let ranks = members(of: candidate)
        switch candidate.purpose {
        case .returning(let returning):
            let wereAway = members.contains { $0.drain == .left }
            for rank in returning {
                members[rank.rawValue].loss = nil
                members[rank.rawValue].drain = nil
                members[rank.rawValue].lastError = nil
                members[rank.rawValue].wait = nil
                members[rank.rawValue].recalled = nil
            }
            if let fitted = candidate.fitted { moved[group(of: returning[0])] = fitted }
            return returning.map { .returned($0, recovering: ranks) }
                + (wereAway ? sendDrained() : [])
                + begin(candidate.number, ranks, now)
        case .placements(let placements, let group):
            moved[group] = placements
            searches.dropped = 0
            let outcome = PlacementOutcome.placed(epoch: candidate.number)
            outcomes[group] = outcome
            return [.placing(group: group, outcome)] + begin(candidate.number, ranks, now)
        case .draining(let rank): return leave(rank, candidate, now)
        }
    }

    mutating func notPrepared(
        _ id: ConnectionID, _ number: UInt64, _ reason: String, lacksMemory: Bool,
        _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id], let candidate, candidate.number == number else { return [] }
        if let absent = absent(from: candidate, awaitedBy: rank) {
            let reason = "it did not meet \(rank) for epoch \(number): \(reason)"
            return lose(absent, reason: reason, now)
        }
        let reason = "\(rank) is not ready for it: \(reason)"
        guard let first = candidate.returning.first else { return drop(reason, now) }
        if lacksMemory, !living(with: first).isEmpty { return postpone(candidate, reason, now) }
        // Of several, none of which serves yet, the one that reports the fault is lost.
        return lose(candidate.returning.contains(rank) ? rank : first, reason: reason, now)
    }

    /// Lets ranks that are about to come back wait for memory, with what they have loaded.
    private mutating func postpone(
        _ candidate: Candidate, _ reason: String, _ now: Duration
    ) -> [Action] {
        var actions: [Action] = []
        for rank in candidate.returning {
            let count = (members[rank.rawValue].wait?.count ?? 0) + 1
            let pause = min(Self.longestWait, Self.firstWait * (1 << min(count - 1, 4)))
            members[rank.rawValue].wait = MemoryWait(until: now + pause, count: count)
            members[rank.rawValue].lastError = reason
            actions.append(
                .warn(
                    "\(rank) waits \(pause.seconds.formatted(digits: 0)) s for memory to come back,"
                        + " or for other ranks to take part: \(reason)"))
        }
        let others = members(of: candidate).compactMap { connection(of: $0) }
        gathers = gathers.filter { $0.key.epoch != candidate.number }
        self.candidate = nil
        return actions + others.map { .abandon($0, epoch: candidate.number) } + prepare(now)
    }

    /// A rank that is about to come back, and for whose part of an all-gather a rank waits.
    private func absent(from candidate: Candidate, awaitedBy rank: Rank) -> Rank? {
        gathers.filter { $0.key.epoch == candidate.number && $0.value[rank] != nil }
            .flatMap { gather, parts in gather.members.filter { parts[$0] == nil } }
            .filter(candidate.returning.contains).min()
    }

    /// Gives up an epoch for which some ranks do not become ready.
    mutating func late(_ candidate: Candidate, _ now: Duration) -> [Action] {
        let missing = members(of: candidate).filter { !candidate.prepared.contains($0) }
        let names = missing.map { "\($0)" }.joined(separator: ", ")
        let seconds = limit(of: candidate).seconds.formatted(digits: 0)
        let reason = "\(names) was not ready for it within \(seconds) s"
        guard let first = candidate.returning.first else { return drop(reason, now) }
        let rank = missing.first(where: candidate.returning.contains) ?? first
        return lose(rank, reason: "\(reason): the job goes on without \(rank)", now)
    }
}
