import Encoding
import Topology

/// How a coordinator takes over the job of one that was lost.
///
/// ```
///   a rank says which epoch it holds ──► take-over: a rank that starts anew waits for its answer,
///                                        and is given up as the one that it was
///
///   every rank of the latest epochs is here, or given up, or the time is over ──► settled
///      a rank is missing ──────────────────────────────────► it is lost: a new epoch of its group
///      a rank takes no part in the latest epoch, or leaves ─► a new epoch of its group
///      a rank of the latest epoch was drained ─────────────► a new epoch of its group
///      else ────────────────────────────────────────────────► the job is ready as it was
/// ```
///
/// The coordinator that was lost left nothing but what its ranks know. Numbers of epochs go on from
/// the highest that a rank heard of. Once it is settled all ranks know the same of who is away on
/// purpose, as yet another coordinator may ask them.
extension Membership {
    /// Ranks that come back, until all are here.
    struct TakeOver: Sendable {
        var since: Duration
        /// What each rank that is back holds.
        var held: [Rank: HeldEpoch] = [:]
        /// Ranks that nobody waits for any more, and why.
        var missing: [Rank: String] = [:]
        /// Ranks that start anew: they are let in when the job goes on.
        var waiting: [(id: ConnectionID, rank: Rank, hello: Hello)] = []
    }

    /// A rank came back from a coordinator that was lost.
    mutating func cameBack(
        _ id: ConnectionID, _ rank: Rank, _ hello: Hello, _ held: HeldEpoch, _ now: Duration
    ) -> [Action] {
        guard takeOver != nil || canTakeOver else {
            return [.dismiss(id, lost(rank, reason: "the job went on, or ends, without it"))]
        }
        if let fault = fault(of: held, rank) { return [.refuse(id, reason: fault)] }
        var actions: [Action] = []
        if takeOver == nil {
            takeOver = TakeOver(since: now)
            // What ranks recover from now on, they have the whole limit for.
            epochBegan = now
            actions = [.takingOver] + dismissStarters()
        }
        takeOver?.held[rank] = held
        takeOver?.missing[rank] = nil
        enter(rank, id, hello, now)
        members[rank.rawValue].phase = .ready
        members[rank.rawValue].told = held.epoch.number
        members[rank.rawValue].epoch = held.takesPart ? held.epoch.number : 0
        lastNumber = max(
            lastNumber, held.highestNumber, held.epoch.number, held.drained?.number ?? 0)
        epoch = max(epoch, held.epoch.number)
        let welcome = Welcome(epoch: held.epoch.number, rankCount: members.count)
        return actions + [.welcome(id, rank, welcome)] + settle(now)
    }

    /// Whether ranks of the coordinator that was lost are still to come back, the first of them
    /// too: one that starts anew and is gone again meanwhile ends nothing.
    func expectsTakeOver(_ now: Duration) -> Bool {
        configuration.expectsTakeOver && canTakeOver && takeOver == nil
            && now - phaseBegan <= configuration.takeOverLimit
    }

    /// Whether this coordinator has not begun a job of its own.
    private var canTakeOver: Bool {
        configuration.survivesLosses && configuration.takeOverLimit > .zero && phase == .join
    }

    /// Ranks that were let in before it was known that the job runs already.
    private mutating func dismissStarters() -> [Action] {
        ranks.values.sorted().flatMap {
            dismissStarter($0, reason: "the job is taken over: the rank may start again")
        }
    }

    /// A rank that was let in is as if it had not come.
    mutating func dismissStarter(_ rank: Rank, reason: String) -> [Action] {
        let (id, end) = (connection(of: rank), lost(rank, reason: reason))
        for gather in gathers.keys { gathers[gather]?[rank] = nil }
        members[rank.rawValue] = Member(told: configuration.epoch, epoch: configuration.epoch)
        guard let id else { return [] }
        ranks[id] = nil
        return [.dismiss(id, end)]
    }

    /// What is wrong with what a rank says that it holds.
    private func fault(of held: HeldEpoch, _ rank: Rank) -> String? {
        let (epoch, limit) = (held.epoch, ExpertMap.maximumEpoch)
        guard epoch.number > 0, epoch.number <= limit, held.highestNumber <= limit else {
            return "\(rank) holds epoch \(epoch.number) of \(held.highestNumber): the limit is"
                + " \(limit)"
        }
        let group = group(of: rank)
        let all = ranks(ofGroup: group)
        guard epoch.living.contains(rank), Set(epoch.living).count == epoch.living.count,
            epoch.living.allSatisfy(all.contains)
        else {
            return "\(rank) holds an epoch of ranks \(epoch.living.map(\.rawValue)): its group has"
                + " \(all.map(\.rawValue)), each once"
        }
        if let away = held.drained, let fault = fault(of: away) { return "\(rank) holds \(fault)" }
        // A rank may hold more than its slots: experts of a rank that was lost, for which others
        // had no room when it was back. It is let in with them, as they are served from there.
        return epoch.placements.flatMap { misfit(of: $0, group: group) }
            .map { "\(rank) holds \($0)" }
    }

    /// What is wrong with the ranks that a rank says are away on purpose.
    private func fault(of away: DrainedRanks) -> String? {
        guard away.number <= ExpertMap.maximumEpoch,
            away.ranks.allSatisfy({ members.indices.contains($0.rawValue) }),
            Set(away.ranks).count == away.ranks.count, away.ranks.count < members.count
        else {
            return "ranks \(away.ranks.map(\.rawValue)) as drained in epoch \(away.number): the job"
                + " has \(members.count) ranks, one of which serves, and \(ExpertMap.maximumEpoch)"
                + " epochs"
        }
        return nil
    }

    /// The ranks that were away on purpose, as the rank says that heard of it last.
    private var drainedBefore: Set<Rank> {
        guard let takeOver else { return [] }
        // Two ranks with lists of one number hold the same one.
        let latest = takeOver.held.values.compactMap(\.drained).max { $0.number < $1.number }
        return Set(latest?.ranks ?? []).subtracting(takeOver.held.keys)
    }

    /// The ranks that are still to come back.
    var awaited: [Rank] {
        guard let takeOver else { return [] }
        let expected = groupIndices.flatMap { group in
            latest(ofGroup: group).map { $0.living.filter { self.group(of: $0) == group } }
                ?? ranks(ofGroup: group)
        }
        let drained = drainedBefore
        return expected.filter {
            members[$0.rawValue].connection == nil && takeOver.missing[$0] == nil
                && !drained.contains($0)
        }
    }

    private var groupIndices: Range<Int> { 0 ..< (configuration.groups?.groups.count ?? 1) }

    /// The latest epoch of a group that a rank which is back holds.
    private func latest(ofGroup group: Int) -> JobEpoch? {
        takeOver?.held.filter { self.group(of: $0.key) == group }
            .map(\.value.epoch).max { $0.number < $1.number }
    }

    /// A rank that was waited for, or that was back, is gone.
    mutating func miss(_ rank: Rank, reason: String, _ now: Duration) -> [Action] {
        var actions: [Action] = []
        if let connection = connection(of: rank) {
            actions = [.dismiss(connection, lost(rank, reason: reason))]
            ranks[connection] = nil
        }
        members[rank.rawValue].connection = nil
        takeOver?.held[rank] = nil
        takeOver?.missing[rank] = reason
        // Whom others suspect may return, and they have left its epoch all the same.
        suspicions[rank] = nil
        if suspicions.isEmpty { suspectedSince = nil }
        return actions + settle(now)
    }

    /// Ends the take-over once nobody is waited for.
    mutating func settle(_ now: Duration) -> [Action] {
        guard let takeOver else { return [] }
        guard awaited.isEmpty || now - takeOver.since > configuration.takeOverLimit else {
            return []
        }
        var actions = leaveOutDrained(now) + leaveOutOthers(now)
        let missing = living.filter { connection(of: $0) == nil }
        // The coordinator may be lost after it said who is away, and before it began their epoch.
        let changed = groupIndices.filter { group in
            latest(ofGroup: group).map { $0.living.sorted() != living(inGroup: group) } ?? false
        }
        self.takeOver = nil
        // They served when their coordinator was lost, whether or not this one heard of them.
        for rank in missing { members[rank.rawValue].phase = .ready }
        func reason(_ rank: Rank) -> String {
            let seconds = configuration.takeOverLimit.seconds.formatted(digits: 0)
            return takeOver.missing[rank]
                ?? "it did not come back to the new coordinator within \(seconds) s"
        }
        if missing == living, let rank = missing.first {
            return actions + end(lost(rank, reason: reason(rank)))
        }
        phase = .ready
        phaseBegan = now
        agreeOnKernels()
        for rank in missing { leaveOut(rank, reason: reason(rank), now) }
        actions += missing.map {
            .lost($0, reason: reason($0), recovering: living(with: $0))
        }
        actions += correctDrained(takeOver)
        actions += beginEpochs(without: missing, changed: changed, now)
        guard ending == nil else { return actions }
        actions.append(.tookOver(recovering: living.filter(isLate)))
        return actions + takeOver.waiting.flatMap { arrived($0.id, $0.hello, now) }
    }

    /// Notes the ranks that were away on purpose.
    private mutating func leaveOutDrained(_ now: Duration) -> [Action] {
        drainedBefore.sorted().map { rank in
            leaveOut(rank, reason: "drained", now)
            noteDrained(rank)
            return .drained(rank, recovering: [])
        }
    }

    /// Tells every rank who is away on purpose, where one of them knows it otherwise: ranks that
    /// came back were told by a coordinator that is lost, or are here although others say that they
    /// are away. The next coordinator believes the list with the highest number.
    private mutating func correctDrained(_ takeOver: TakeOver) -> [Action] {
        let away = members.indices.filter { members[$0].drain == .left }
            .map { Rank(rawValue: $0) }
        let isKnown = living.filter { connection(of: $0) != nil }
            .allSatisfy { takeOver.held[$0]?.drained?.ranks ?? [] == away }
        guard !isKnown, lastNumber < ExpertMap.maximumEpoch else { return [] }
        lastNumber += 1
        return sendDrained()
    }

    /// Notes the ranks that took no part before the coordinator was lost, and where experts were.
    private mutating func leaveOutOthers(_ now: Duration) -> [Action] {
        var actions: [Action] = []
        for group in groupIndices {
            guard let latest = latest(ofGroup: group) else { continue }
            moved[group] = latest.placements
            for rank in ranks(ofGroup: group)
            where !latest.living.contains(rank) && members[rank.rawValue].drain == nil {
                let reason = "it took no part when the coordinator was lost"
                if let connection = connection(of: rank) {
                    actions.append(.dismiss(connection, lost(rank, reason: reason)))
                }
                leaveOut(rank, reason: reason, now)
                actions.append(.lost(rank, reason: reason, recovering: []))
            }
        }
        return actions
    }

    private mutating func leaveOut(_ rank: Rank, reason: String, _ now: Duration) {
        if let connection = connection(of: rank) { ranks[connection] = nil }
        members[rank.rawValue].connection = nil
        members[rank.rawValue].loss = reason
        // Of the rank's process, if it hangs, nothing is heard from now on.
        members[rank.rawValue].lastHeard = now
        suspicions[rank] = nil
        suspicions = suspicions.filter { $0.value.suspect != rank }
        if suspicions.isEmpty { suspectedSince = nil }
    }

    /// Begins an epoch of each group whose ranks are not together in one.
    ///
    /// - Parameter changed: The groups whose latest epoch has a rank that is out already.
    private mutating func beginEpochs(
        without missing: [Rank], changed: [Int], _ now: Duration
    ) -> [Action] {
        var actions: [Action] = []
        for group in groupIndices {
            let left = living(inGroup: group)
            let epochs = Set(left.map { members[$0.rawValue].epoch })
            let isWhole =
                !changed.contains(group) && !missing.contains { self.group(of: $0) == group }
            guard !left.isEmpty, !isWhole || epochs.count > 1 || left.contains(where: isLate)
            else { continue }
            guard lastNumber < ExpertMap.maximumEpoch else {
                return actions + end(lost(left[0], reason: "no epoch is left"))
            }
            lastNumber += 1
            actions += begin(lastNumber, left, now)
        }
        return actions
    }
}
