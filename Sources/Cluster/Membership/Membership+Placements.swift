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
/// Nothing is placed anew while a rank of the group is lost: its share would have to be guessed.
extension Membership {
    /// What the coordinator decided about the placement of a group.
    public enum PlacementOutcome: Hashable, Sendable, CustomStringConvertible {
        /// Ranks read for an epoch to come.
        case begun(epoch: UInt64)
        /// An epoch with it has begun.
        case placed(epoch: UInt64)
        /// It came to nothing.
        case dropped(epoch: UInt64, reason: String)

        /// The fact in one line.
        public var description: String {
            switch self {
            case .begun(let epoch): "ranks read the experts that come to them in epoch \(epoch)"
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
        if let lost = ranks(ofGroup: group).first(where: { members[$0.rawValue].loss != nil }) {
            return "\(lost) is lost: experts are placed anew when all ranks of the group live"
        }
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
            for (rank, experts) in placement.expertsByRank.enumerated()
            where experts.count > start.expertsByRank[rank].count {
                return "\(experts.count) copies of layer \(layer) on rank \(rank) of the group:"
                    + " it has room for \(start.expertsByRank[rank].count) (redundantExperts)"
            }
        }
        return nil
    }

    /// Begins to place the experts of a group anew; nothing where `refusal` has a reason.
    mutating func place(
        _ placements: [ExpertPlacement], group: Int, _ now: Duration
    ) -> [Action] {
        guard refusal(of: placements, group: group) == nil else { return [] }
        lastNumber += 1
        let living = ranks(ofGroup: group)
        candidate = Candidate(
            purpose: .placements(placements, group: group), number: lastNumber, since: now)
        outcomes[group] = .begun(epoch: lastNumber)
        let next = JobEpoch(number: lastNumber, living: living, placements: placements)
        return [.placing(group: group, .begun(epoch: lastNumber))]
            + living.compactMap { connection(of: $0) }.map { .prepare($0, next) }
    }

    /// Forgets placements that were about to be taken.
    mutating func drop(_ reason: String, _ now: Duration) -> [Action] {
        guard let candidate, case .placements(_, let group) = candidate.purpose else { return [] }
        self.candidate = nil
        looks.dropped += 1
        looks.last = now
        gathers = gathers.filter { $0.key.epoch != candidate.number }
        let outcome = PlacementOutcome.dropped(epoch: candidate.number, reason: reason)
        outcomes[group] = outcome
        return [.placing(group: group, outcome)]
            + living(inGroup: group).compactMap { connection(of: $0) }
            .map { .abandon($0, epoch: candidate.number) } + prepare(now)
    }

    /// The ranks of a group that are in.
    func living(inGroup group: Int) -> [Rank] {
        living.filter { self.group(of: $0) == group }
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
                report.epoch = report.living.first.map { members[$0.rawValue].told } ?? epoch
                switch outcomes[group] {
                case .begun(let number)?: report.preparing = number
                case .dropped(let number, let reason)?:
                    report.dropped = PlacementReport.Dropped(epoch: number, reason: reason)
                case .placed?, nil: break
                }
                return report
            })
    }
}
