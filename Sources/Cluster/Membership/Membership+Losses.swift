import Encoding
import Topology

/// What a job that survives losses does about one, once it is ready.
///
/// ```
///   a connection closes, a rank fails or is silent: it is lost
///   a rank suspects another:  the suspect is silent itself, or a quarter of a second passes
///                             ──► the rank that most ranks suspect is lost
///
///   lost ──► the rank is dismissed, and every other one is told the new epoch ──► each takes part
///            in it, and says so ──► recovered
/// ```
///
/// A rank that was lost may come back. It is let in and reads its experts while the others serve;
/// `Membership+Returns.swift` has the rest of its way.
///
/// Who is left decides nothing by itself: an epoch is what the coordinator says.
extension Membership {
    /// Silence of a suspect that proves the suspicion: two beats of its heart are missing.
    private static let suspectSilence = Duration.milliseconds(1250)
    /// For other ranks to say whom they suspect, after the first did.
    private static let votingTime = Duration.milliseconds(250)

    /// Whether a rank that is lost now leaves the others to go on.
    var goesOn: Bool {
        configuration.survivesLosses && (phase == .ready || takeOver != nil)
    }

    /// The ranks that are in.
    var living: [Rank] {
        members.indices.filter { members[$0].loss == nil }.map { Rank(rawValue: $0) }
    }

    /// Those that work together with a rank; it is one of them if it is in.
    func living(with rank: Rank) -> [Rank] {
        guard let groups = configuration.groups else { return living }
        let group = groups.group(of: rank).members
        return living.filter(group.contains)
    }

    /// Ends the job because of a rank, or goes on without it.
    mutating func lose(_ rank: Rank, reason: String, _ now: Duration) -> [Action] {
        if expectsTakeOver(now) {
            let actions = dismissStarter(rank, reason: reason)
            members[rank.rawValue].lastError = reason
            return actions
        }
        let end = lost(rank, reason: reason)
        if takeOver != nil { return miss(rank, reason: reason, now) }
        if members[rank.rawValue].loss != nil, let connection = members[rank.rawValue].connection {
            // It was on its way back.
            ranks[connection] = nil
            members[rank.rawValue].connection = nil
            members[rank.rawValue].loss = reason
            let recall = endRecall(of: rank, reason: reason)
            guard let candidate, candidate.returning.contains(rank) else {
                return recall + [.dismiss(connection, end)]
            }
            let others = members(of: candidate).compactMap { self.connection(of: $0) }
            gathers = gathers.filter { $0.key.epoch != candidate.number }
            self.candidate = nil
            return recall + [.dismiss(connection, end)]
                + others.map { .abandon($0, epoch: candidate.number) } + prepare(now)
        }
        guard goesOn, living.contains(where: { $0 != rank }), lastNumber < ExpertMap.maximumEpoch
        else {
            return self.end(end)
        }
        var actions: [Action] = []
        let late = isRecovering
        if let connection = members[rank.rawValue].connection {
            ranks[connection] = nil
            actions.append(.dismiss(connection, end))
        }
        members[rank.rawValue].connection = nil
        members[rank.rawValue].loss = reason
        members[rank.rawValue].statistics = nil
        // What it said of others was said by a rank that is lost.
        suspicions[rank] = nil
        suspicions = suspicions.filter { $0.value.suspect != rank }
        let left = living(with: rank)
        switch candidate?.purpose {
        case .placements(_, group: group(of: rank))?:
            actions += drop("\(rank) was lost: \(reason)", now)
        case .draining(let leaving)? where group(of: leaving) == group(of: rank):
            actions += drop("\(rank) was lost: \(reason)", now)
        default: break
        }
        // After a rank that stays after all: the texts of the lost one may go to it.
        actions.append(.lost(rank, reason: reason, recovering: left))
        guard !left.isEmpty else { return actions + dissolve(group(of: rank), late, now) }
        // To drop placements may have begun another epoch.
        guard lastNumber < ExpertMap.maximumEpoch else { return actions + self.end(end) }
        lastNumber += 1
        return actions + begin(lastNumber, left, now)
    }

    /// A whole group is gone; the other groups serve as before, and nobody waits for it.
    ///
    /// Ranks of it that were about to meet the last one come back with the others that are lost.
    ///
    /// - Parameter wasRecovering: Whether some rank was about to take part in an epoch before.
    private mutating func dissolve(
        _ group: Int, _ wasRecovering: Bool, _ now: Duration
    ) -> [Action] {
        var actions: [Action] = []
        let gone = Set(ranks(ofGroup: group))
        if let candidate, candidate.returning.contains(where: gone.contains) {
            actions += members(of: candidate).compactMap { connection(of: $0) }
                .map { .abandon($0, epoch: candidate.number) }
            self.candidate = nil
        }
        forgetWaits(ofGroup: group)
        // What its ranks gave, they gave to each other.
        gathers = gathers.filter { gone.isDisjoint(with: $0.value.keys) }
        guard !isRecovering else { return actions }
        return actions + (wasRecovering ? [.recovered(epoch: epoch)] : []) + prepare(now)
    }

    /// Has ranks of a group that is gone come back together: what one alone had no memory for, all
    /// may have.
    mutating func forgetWaits(ofGroup group: Int) {
        for rank in ranks(ofGroup: group) { members[rank.rawValue].wait = nil }
    }

    /// Begins an epoch of ranks that work together.
    mutating func begin(_ number: UInt64, _ ranks: [Rank], _ now: Duration) -> [Action] {
        // One that was prepared may begin after a later one of another group.
        epoch = max(epoch, number)
        epochBegan = now
        let over = Set(ranks.map { members[$0.rawValue].told })
        gathers = gathers.filter { gather, parts in
            !over.contains(gather.epoch) || !parts.keys.contains(where: ranks.contains)
        }
        let abandons = void(by: number, of: ranks)
        suspicions = suspicions.filter { !ranks.contains($0.key) }
        if suspicions.isEmpty { suspectedSince = nil }
        for rank in ranks { members[rank.rawValue].told = number }
        // What ranks need to come back, and what machines have, may be other than before.
        for index in members.indices { members[index].wait?.until = now }
        let next = self.epoch(number, of: ranks)
        return abandons + ranks.compactMap { connection(of: $0) }.map { .begin($0, next) }
    }

    /// Forgets an epoch that some ranks were about to take part in, as they take part in another.
    ///
    /// Those of them that are told the other one know by that. A rank that was about to come back
    /// does not, and would read on.
    private mutating func void(by number: UInt64, of ranks: [Rank]) -> [Action] {
        guard let candidate else { return [] }
        let members = members(of: candidate)
        guard members.contains(where: ranks.contains) else { return [] }
        self.candidate = nil
        guard candidate.number != number else { return [] }
        gathers = gathers.filter { $0.key.epoch != candidate.number }
        return members.filter { !ranks.contains($0) }.compactMap { connection(of: $0) }
            .map { .abandon($0, epoch: candidate.number) }
    }

    mutating func suspected(
        _ id: ConnectionID, _ suspect: Rank, _ suspectedEpoch: UInt64, _ reason: String,
        _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        // A rank that left an epoch for the next is no loss.
        guard suspectedEpoch == members[rank.rawValue].told, suspect != rank,
            members.indices.contains(suspect.rawValue)
        else { return [] }
        guard goesOn else { return apply(.failed(id, reason: reason, lost: suspect), now: now) }
        guard living(with: rank).contains(suspect) else { return [] }
        suspicions[rank] = (suspect, "\(rank) reports: \(reason)")
        suspectedSince = suspectedSince ?? now
        return judge(now)
    }

    mutating func recovered(_ id: ConnectionID, _ number: UInt64, _ now: Duration) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        let told = members[rank.rawValue].told
        guard number == told, members[rank.rawValue].epoch < told else { return [] }
        members[rank.rawValue].epoch = told
        members[rank.rawValue].lastError = nil
        guard takeOver == nil else { return settle(now) }
        return isRecovering ? [] : [.recovered(epoch: epoch)] + prepare(now)
    }

    /// Whether a rank does not take part in its epoch yet.
    var isRecovering: Bool { living.contains(where: isLate) }

    /// Whether a rank does not take part in the epoch that it was told last.
    func isLate(_ rank: Rank) -> Bool {
        members[rank.rawValue].epoch < members[rank.rawValue].told
    }

    /// Loses the rank that most suspect, once it had its time to prove them wrong, and one that
    /// does not come to the epoch.
    mutating func judge(_ now: Duration) -> [Action] {
        if let since = suspectedSince, let suspect = mostSuspected {
            // One that has not come back to this coordinator yet may be about to.
            let isSilent =
                silence(of: suspect, now).map { $0 >= Self.suspectSilence } ?? (takeOver == nil)
            if isSilent || now - since >= Self.votingTime {
                let reason = suspicions.filter { $0.value.suspect == suspect }
                    .min { $0.key < $1.key }?.value.reason
                return lose(suspect, reason: reason ?? "suspected", now)
            }
        }
        if let candidate, now - candidate.since > limit(of: candidate) {
            return late(candidate, now)
        }
        let seconds = recoveryLimit.seconds.formatted(digits: 0)
        if let stuck = members.firstIndex(where: {
            $0.loss != nil && $0.connection != nil && $0.phase < .ready
                && now - $0.since > recoveryLimit
        }) {
            let rank = Rank(rawValue: stuck)
            return lose(
                rank,
                reason: "it came back and stayed in phase \(members[stuck].phase) for more than"
                    + " \(seconds) s (deadlines.connectSeconds and loadSeconds): end its process,"
                    + " or raise the limit", now)
        }
        guard isRecovering, now - epochBegan > recoveryLimit,
            let late = absentFromMeeting ?? living.first(where: isLate)
        else { return [] }
        return lose(
            late,
            reason: "it did not take part in epoch \(members[late.rawValue].told) within"
                + " \(seconds) s", now)
    }

    /// The first rank that is late, and for whose part of an all-gather others that are late wait.
    private var absentFromMeeting: Rank? {
        let late = living.filter(isLate)
        return gathers.flatMap { gather, parts -> [Rank] in
            let called = late.filter { members[$0.rawValue].told == gather.epoch }
            guard called.contains(where: { parts[$0] != nil }) else { return [] }
            return called.filter {
                parts[$0] == nil && (gather.members.isEmpty || gather.members.contains($0))
            }
        }.min()
    }

    /// For the ranks that are left to meet and to read the experts that they take over.
    var recoveryLimit: Duration {
        (configuration.deadlines[.connect] ?? .zero) + (configuration.deadlines[.load] ?? .zero)
    }

    /// The suspect of most ranks; of equals the highest, as the first ranks are by the coordinator.
    private var mostSuspected: Rank? {
        var votes: [Rank: Int] = [:]
        // Who is given up already is judged again only once it is back.
        for suspicion in suspicions.values where takeOver?.missing[suspicion.suspect] == nil {
            votes[suspicion.suspect, default: 0] += 1
        }
        return votes.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    }

    func lost(_ rank: Rank, reason: String) -> JobEnd {
        .lost(rank: rank, phase: members[rank.rawValue].phase, epoch: epoch, reason: reason)
    }
}
