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
    var goesOn: Bool { configuration.survivesLosses && phase == .ready }

    /// The ranks that are in.
    var living: [Rank] {
        members.indices.filter { members[$0].loss == nil }.map { Rank(rawValue: $0) }
    }

    /// Ends the job because of a rank, or goes on without it.
    mutating func lose(_ rank: Rank, reason: String, _ now: Duration) -> [Action] {
        let end = lost(rank, reason: reason)
        if members[rank.rawValue].loss != nil, let connection = members[rank.rawValue].connection {
            // It was on its way back.
            ranks[connection] = nil
            members[rank.rawValue].connection = nil
            members[rank.rawValue].loss = reason
            guard candidate?.rank == rank else { return [.dismiss(connection, end)] }
            candidate = nil
            return [.dismiss(connection, end)] + prepare(now)
        }
        guard goesOn, living.contains(where: { $0 != rank }), lastNumber < ExpertMap.maximumEpoch
        else {
            return self.end(end)
        }
        var actions: [Action] = []
        if let connection = members[rank.rawValue].connection {
            ranks[connection] = nil
            actions.append(.dismiss(connection, end))
        }
        members[rank.rawValue].connection = nil
        members[rank.rawValue].loss = reason
        members[rank.rawValue].statistics = nil
        actions.append(.lost(rank, reason: reason, recovering: living))
        lastNumber += 1
        return actions + begin(lastNumber, now)
    }

    /// Begins an epoch with the ranks that are in.
    mutating func begin(_ number: UInt64, _ now: Duration) -> [Action] {
        epoch = number
        epochBegan = now
        gathers = gathers.filter { $0.key.epoch == number }
        candidate = nil
        suspicions = [:]
        suspectedSince = nil
        let next = JobEpoch(number: epoch, living: living)
        return living.compactMap { connection(of: $0) }.map { .begin($0, next) }
    }

    mutating func suspected(
        _ id: ConnectionID, _ suspect: Rank, _ suspectedEpoch: UInt64, _ reason: String,
        _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        // A rank that left an epoch for the next is no loss.
        guard suspectedEpoch == epoch, suspect != rank, members.indices.contains(suspect.rawValue)
        else { return [] }
        guard goesOn else { return apply(.failed(id, reason: reason, lost: suspect), now: now) }
        guard members[suspect.rawValue].loss == nil else { return [] }
        suspicions[rank] = (suspect, "\(rank) reports: \(reason)")
        suspectedSince = suspectedSince ?? now
        return judge(now)
    }

    mutating func recovered(_ id: ConnectionID, _ number: UInt64, _ now: Duration) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        guard number == epoch, members[rank.rawValue].epoch < epoch else { return [] }
        members[rank.rawValue].epoch = epoch
        members[rank.rawValue].lastError = nil
        return isRecovering ? [] : [.recovered(epoch: epoch)] + prepare(now)
    }

    /// Whether a rank does not take part in the epoch yet.
    var isRecovering: Bool { living.contains { members[$0.rawValue].epoch < epoch } }

    /// Loses the rank that most suspect, once it had its time to prove them wrong, and one that
    /// does not come to the epoch.
    mutating func judge(_ now: Duration) -> [Action] {
        if let since = suspectedSince, let suspect = mostSuspected {
            let isSilent = silence(of: suspect, now).map { $0 >= Self.suspectSilence } ?? true
            if isSilent || now - since >= Self.votingTime {
                let reason = suspicions.filter { $0.value.suspect == suspect }
                    .min { $0.key < $1.key }?.value.reason
                return lose(suspect, reason: reason ?? "suspected", now)
            }
        }
        if let candidate, now - candidate.since > Self.candidateLimit {
            let missing = (living + [candidate.rank]).filter { !candidate.prepared.contains($0) }
            let names = missing.map { "\($0)" }.joined(separator: ", ")
            let seconds = Self.candidateLimit.seconds.formatted(digits: 0)
            return lose(
                candidate.rank,
                reason: "\(names) did not meet the others within \(seconds) s: the job goes on"
                    + " without \(candidate.rank)", now)
        }
        guard isRecovering, now - epochBegan > recoveryLimit,
            let late = living.first(where: { members[$0.rawValue].epoch < epoch })
        else { return [] }
        return end(
            .late(
                rank: late, phase: .load, deadline: recoveryLimit,
                lastError: members[late.rawValue].lastError))
    }

    /// For the ranks that are left to meet and to read the experts that they take over.
    private var recoveryLimit: Duration {
        (configuration.deadlines[.connect] ?? .zero) + (configuration.deadlines[.load] ?? .zero)
    }

    /// The suspect of most ranks; of equals the highest, as the first ranks are by the coordinator.
    private var mostSuspected: Rank? {
        var votes: [Rank: Int] = [:]
        for suspicion in suspicions.values { votes[suspicion.suspect, default: 0] += 1 }
        return votes.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    }
}
