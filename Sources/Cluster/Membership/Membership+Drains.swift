import Topology

/// How a rank leaves on purpose, for maintenance, while the job goes on.
///
/// ```
///   drain ──► candidate: the ranks that stay meet on a new fabric and read the experts that only
///             the leaving one holds, while all serve; it gets no new request
///
///   every rank that stays has read ──► a new epoch without it: its texts go on at others
///   a rank is lost, cannot read, or takes too long ──► it stays, and serves as before
/// ```
///
/// It is away like a rank that was lost, and comes back like one.
extension Membership {
    /// Why a rank cannot leave now; nil where it can.
    func drainRefusal(of rank: Rank) -> String? {
        guard members.indices.contains(rank.rawValue) else {
            return "\(rank) is out of range: the job has \(members.count) ranks, from 0"
        }
        guard configuration.survivesLosses else {
            return "the job has one epoch, because it ends when a rank is lost (onLostRank: end)"
        }
        guard phase == .ready, takeOver == nil else {
            return "the job is in phase \(phase), or takes ranks over: ask again when it is ready"
        }
        let member = members[rank.rawValue]
        if member.drain == .leaving { return "\(rank) is being drained already" }
        if member.drain == .left {
            return "\(rank) is drained already"
                + (member.connection == nil ? "" : ", and about to come back")
        }
        if let loss = member.loss { return "\(rank) is lost: \(loss)" }
        let lost = ranks(ofGroup: group(of: rank)).first {
            members[$0.rawValue].loss != nil && members[$0.rawValue].drain == nil
        }
        if let lost { return "\(lost) is lost: ask again when it is back" }
        if isRecovering { return "ranks are about to take part in epoch \(epoch): ask again" }
        if let candidate {
            return "epoch \(candidate.number) is being prepared: ask again when it has begun"
        }
        guard living.count > 1 else {
            return "\(rank) is the last one that serves: to end the job, drain without a rank"
        }
        return lastNumber < ExpertMap.maximumEpoch ? nil : "no epoch is left"
    }

    /// What the log is to say where no other rank has a rank's role.
    private func lackOfRole(without rank: Rank) -> [Action] {
        guard let role = role(of: rank),
            !living.contains(where: { $0 != rank && self.role(of: $0) == role })
        else { return [] }
        return [
            .warn(
                "\(rank) is the last one that has role \(role.rawValue): until one is back, ranks"
                    + " of another role do its work")
        ]
    }

    /// Begins to let a rank leave; nothing where `drainRefusal` has a reason.
    mutating func drain(_ rank: Rank, _ now: Duration) -> [Action] {
        guard drainRefusal(of: rank) == nil else { return [] }
        lastNumber += 1
        members[rank.rawValue].drain = .leaving
        let candidate = Candidate(purpose: .draining(rank), number: lastNumber, since: now)
        self.candidate = candidate
        let left = members(of: candidate)
        let begun = lackOfRole(without: rank) + [.draining(rank)]
        // Other groups do its work: none reads anything.
        if left.isEmpty { return begun + leave(rank, candidate, now) }
        let next = epoch(lastNumber, of: left)
        return begun
            + left.compactMap { connection(of: $0) }.map { .prepare($0, next) }
    }

    /// A rank is away on purpose from now on.
    mutating func noteDrained(_ rank: Rank) {
        members[rank.rawValue].loss = "drained: it comes back by apus scale, or started by hand"
        members[rank.rawValue].drain = .left
        members[rank.rawValue].statistics = nil
    }

    /// Tells every rank that is in which are away on purpose, so that another coordinator hears it
    /// of them: before they are told the epoch, in which they may be asked.
    func sendDrained() -> [Action] {
        let away = members.indices.filter { members[$0].drain == .left }
        let list = DrainedRanks(number: lastNumber, ranks: away.map { Rank(rawValue: $0) })
        return living.compactMap { connection(of: $0) }.map { .sendDrained($0, list) }
    }

    /// The others are ready: a rank leaves.
    mutating func leave(_ rank: Rank, _ candidate: Candidate, _ now: Duration) -> [Action] {
        let left = members(of: candidate)
        let connection = connection(of: rank)
        if let connection { ranks[connection] = nil }
        members[rank.rawValue].connection = nil
        noteDrained(rank)
        suspicions[rank] = nil
        suspicions = suspicions.filter { $0.value.suspect != rank }
        self.candidate = nil
        var actions: [Action] = [.drained(rank, recovering: left)]
        actions += sendDrained()
        if !left.isEmpty { actions += begin(candidate.number, left, now) }
        if let connection { actions.append(.dismiss(connection, .drained(rank: rank))) }
        guard left.isEmpty else { return actions }
        forgetWaits(ofGroup: group(of: rank))
        return actions + prepare(now)
    }
}
