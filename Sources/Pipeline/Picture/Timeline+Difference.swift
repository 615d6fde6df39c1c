import Topology

extension Timeline {
    /// Longer than any step of a run; what is longer was not measured.
    private static let longestSeconds = 1e9

    /// Why this is no measured step of a schedule, in words; nil if it is one.
    ///
    /// The ranks of every pipeline, one after the other, must have done the plan's steps and no
    /// others.
    public func difference(from plan: Schedule) -> String? {
        guard rankCount > 0, rankCount.isMultiple(of: plan.rankCount) else {
            return "is a timeline of \(rankCount) ranks: the plan has \(plan.rankCount) (--ranks)"
        }
        var labels: [Int: [String]] = [:]
        for entry in entries {
            guard (0 ..< rankCount).contains(entry.rank.rawValue) else {
                return "has work of \(entry.rank): its ranks are 0 to \(rankCount - 1)"
            }
            guard entry.start >= 0, entry.start <= entry.end, entry.end <= Self.longestSeconds
            else {
                return "has \(entry.label) of \(entry.rank) from \(entry.start) to \(entry.end): "
                    + "times rise from 0 and end by 1e9"
            }
            guard entry.lane == .compute else { continue }
            labels[entry.rank.rawValue, default: []].append(entry.label)
        }
        for rank in 0 ..< rankCount {
            let planned = plan.steps[rank % plan.rankCount].filter(\.isCompute).map { "\($0)" }
            guard labels[rank, default: []].sorted() != planned.sorted() else { continue }
            return "is of another schedule: rank \(rank) did \(labels[rank]?.count ?? 0) steps, "
                + "the plan's \(planned.count) are others (\(plan.kind.title), "
                + "\(plan.microBatchCount) micro-batches)"
        }
        return nil
    }
}
