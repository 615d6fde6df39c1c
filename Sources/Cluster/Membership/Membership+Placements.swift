import Topology

/// How the experts of a group are placed anew while it serves.
///
/// ```
///   a better placement ──► candidate: each rank meets the others on a new fabric and reads the
///                          experts that come to it, while it serves in the present epoch
///
///   every rank has read ──► a new epoch: each rank changes over between two steps
///   a rank is lost, cannot read, or takes too long ──► dropped: the group serves as before
/// ```
///
/// While a rank of the group is lost, the experts of those that live are placed anew. The lost rank
/// keeps the place to which it comes back; then the others let go of what they have no slots for.
extension Membership {
    /// What the coordinator decided about the placement of a group.
    public enum PlacementOutcome: Hashable, Sendable, CustomStringConvertible {
        /// Ranks read for an epoch to come; max over mean of their loads, now and then.
        case begun(epoch: UInt64, before: Double, after: Double)
        /// An epoch with it has begun.
        case placed(epoch: UInt64)
        /// It came to nothing.
        case dropped(epoch: UInt64, reason: String)

        /// The fact in one line.
        public var description: String {
            switch self {
            case .begun(let epoch, let before, let after):
                "ranks read the experts that come to them in epoch \(epoch): max/mean"
                    + " \(before.formatted(digits: 3)) to \(after.formatted(digits: 3))"
            case .placed(let epoch): "experts are placed anew from epoch \(epoch) on"
            case .dropped(let epoch, let reason): "epoch \(epoch) will not come: \(reason)"
            }
        }
    }

    /// The number of a rank's group.
    func group(of rank: Rank) -> Int {
        guard let groups = configuration.groups else { return 0 }
        let name = groups.group(of: rank).group.name
        return groups.groups.firstIndex { $0.name == name } ?? 0
    }

    /// The part of the work that a rank does; nil where every rank does all of it.
    func role(of rank: Rank) -> RankRole? {
        guard let groups = configuration.groups, groups.handsOver else { return nil }
        return roles[rank] ?? groups.group(of: rank).group.role
    }

    /// Notes the role that ranks have from now on.
    ///
    /// It is the router that gives it: no epoch begins, and no rank reads anything.
    mutating func note(_ role: RankRole, of ranks: [Rank]) {
        for rank in ranks where members.indices.contains(rank.rawValue) { roles[rank] = role }
    }

    /// The ranks of a group, the lost ones included.
    func ranks(ofGroup group: Int) -> [Rank] {
        members.indices.map { Rank(rawValue: $0) }.filter { self.group(of: $0) == group }
    }

    /// Where the experts of a group are when all of its ranks live, layer by layer.
    func placements(ofGroup group: Int) -> [ExpertPlacement] {
        moved[group] ?? configuration.placements[group]
    }

    /// What an epoch of ranks of one group is.
    func epoch(_ number: UInt64, of living: [Rank]) -> JobEpoch {
        JobEpoch(
            number: number, living: living,
            placements: living.first.flatMap { moved[group(of: $0)] })
    }

    /// Why a group cannot take these placements now; nil where it can.
    func refusal(of placements: [ExpertPlacement], group: Int) -> String? {
        guard configuration.placements.indices.contains(group) else {
            return "group \(group) is not one of \(configuration.placements.count)"
        }
        guard configuration.survivesLosses else {
            return "the job has one epoch, because it ends when a rank is lost (onLostRank: end)"
        }
        guard phase == .ready else { return "the job is in phase \(phase), not ready" }
        if let misfit = misfit(of: placements, group: group) { return misfit }
        guard let present = livingPlacements(ofGroup: group) else {
            return "no rank of the group lives"
        }
        if let misfit = misfit(of: placements, beside: present, group: group) { return misfit }
        if isRecovering { return "ranks are about to take part in epoch \(epoch)" }
        if let candidate { return "epoch \(candidate.number) is being prepared already" }
        if placements == self.placements(ofGroup: group) { return "the experts are there already" }
        return lastNumber < ExpertMap.maximumEpoch ? nil : "no epoch is left"
    }

    /// Why a group could never take these placements; nil where it could.
    func misfit(of placements: [ExpertPlacement], group: Int) -> String? {
        let all = configuration.placements
        let first = all.indices.contains(group) ? all[group] : []
        guard placements.count == first.count else {
            return "placements of \(placements.count) layers: the model has \(first.count)"
        }
        for (layer, placement) in placements.enumerated() {
            let start = first[layer]
            guard placement.expertCount == start.expertCount,
                placement.rankCount == start.rankCount
            else {
                return "layer \(layer) has \(placement.expertCount) experts on"
                    + " \(placement.rankCount) ranks: the group has \(start.expertCount) on"
                    + " \(start.rankCount)"
            }
        }
        return nil
    }

    /// Why placements have too many copies on a rank, or others than before on one that is lost.
    func misfit(
        of placements: [ExpertPlacement], beside present: LivingPlacements, group: Int
    ) -> String? {
        let whole = self.placements(ofGroup: group)
        for (layer, placement) in placements.enumerated() {
            for (place, experts) in placement.expertsByRank.enumerated() {
                let rank = Rank(rawValue: place)
                let copies =
                    "\(experts.count) copies of layer \(layer) on rank \(place) of the group"
                guard let living = present.living.firstIndex(of: rank) else {
                    if experts == whole[layer].experts(on: rank) { continue }
                    return copies + ", which is lost: what it holds when it comes back stays"
                }
                if experts.count > present.slots[living] {
                    return copies
                        + ": it has room for \(present.slots[living]) (redundantExperts)"
                }
            }
        }
        return nil
    }

    /// The placements of a group as the ranks of it that live see them; nil where none does.
    ///
    /// - Parameter living: Numbered as in the job; nil for those that are in.
    func livingPlacements(ofGroup group: Int, living: [Rank]? = nil) -> LivingPlacements? {
        let living = living ?? self.living(inGroup: group)
        let all = ranks(ofGroup: group)
        return try? LivingPlacements(
            of: placements(ofGroup: group),
            living: living.compactMap { all.firstIndex(of: $0).map(Rank.init(rawValue:)) },
            slots: slots(ofGroup: group))
    }

    /// Begins to place the experts of a group anew; nothing where `refusal` has a reason.
    mutating func place(
        _ placements: [ExpertPlacement], group: Int, _ now: Duration
    ) -> [Action] {
        guard refusal(of: placements, group: group) == nil else { return [] }
        lastNumber += 1
        let living = living(inGroup: group)
        let before = imbalance(ofGroup: group, placements: self.placements(ofGroup: group))
        let after = imbalance(ofGroup: group, placements: placements)
        candidate = Candidate(
            purpose: .placements(placements, group: group), number: lastNumber, since: now)
        let outcome = PlacementOutcome.begun(epoch: lastNumber, before: before, after: after)
        outcomes[group] = outcome
        let next = JobEpoch(number: lastNumber, living: living, placements: placements)
        return [.placing(group: group, outcome)]
            + living.compactMap { connection(of: $0) }.map { .prepare($0, next) }
    }

    /// Max over mean of the ranks that live, had the group these placements.
    private func imbalance(ofGroup group: Int, placements: [ExpertPlacement]) -> Double {
        let all = ranks(ofGroup: group)
        let living = living(inGroup: group)
            .compactMap { all.firstIndex(of: $0).map(Rank.init(rawValue:)) }
        let seen = try? LivingPlacements(
            of: placements, living: living, slots: slots(ofGroup: group))
        return Rebalancing.imbalance(
            of: seen?.placements ?? placements, loads: loads[group].tokens)
    }

    /// Forgets placements that were about to be taken, or a rank that was about to leave.
    mutating func drop(_ reason: String, _ now: Duration) -> [Action] {
        guard let candidate else { return [] }
        let word: Action
        switch candidate.purpose {
        case .returning: return []
        case .placements(_, let group):
            searches.dropped += 1
            searches.last = now
            let outcome = PlacementOutcome.dropped(epoch: candidate.number, reason: reason)
            outcomes[group] = outcome
            word = .placing(group: group, outcome)
        case .draining(let rank):
            members[rank.rawValue].drain = nil
            word = .notDrained(rank, reason: reason)
        }
        let others = members(of: candidate).compactMap { connection(of: $0) }
        self.candidate = nil
        gathers = gathers.filter { $0.key.epoch != candidate.number }
        return [word] + others.map { .abandon($0, epoch: candidate.number) } + prepare(now)
    }

    /// The ranks of a group that are in.
    func living(inGroup group: Int) -> [Rank] {
        living.filter { self.group(of: $0) == group }
    }

    /// Where ranks are, for the policy by node.
    func nodes(of ranks: [Rank]) -> NodePacking {
        NodePacking(
            names: ranks.map { members[$0.rawValue].node },
            groupCount: configuration.expertGroupCount)
    }

    /// Copies of a layer that each rank of a group has room for.
    func slots(ofGroup group: Int) -> [Int] {
        configuration.placements[group].first?.expertsByRank.map(\.count) ?? []
    }

    /// Loads and placements of every group, as observers see them.
    func placementReport(now: Duration) -> PlacementReport {
        PlacementReport(
            groups: loads.indices.map { group in
                var load = loads[group]
                load.decay(to: now)
                let all = ranks(ofGroup: group)
                var report = PlacementReport.Group(
                    name: configuration.groups?.groups[group].name ?? "",
                    ranks: all, slots: slots(ofGroup: group),
                    placements: placements(ofGroup: group), loads: load.tokens)
                report.living = living(inGroup: group)
                report.nodes = all.map { members[$0.rawValue].node }
                report.expertGroupCount = configuration.expertGroupCount
                report.epoch = report.living.first.map { members[$0.rawValue].told } ?? epoch
                switch outcomes[group] {
                case .begun(let number, _, _)?: report.preparing = number
                case .dropped(let number, let reason)?:
                    report.dropped = PlacementReport.Dropped(epoch: number, reason: reason)
                case .placed?, nil: break
                }
                return report
            })
    }
}
