/// Ranks that are away while their job goes on: those that left on purpose, are to come back, or
/// were given up.
extension JobRun {
    /// Starts ranks again that left and are to come back, each once: one whose former process has
    /// not ended yet, when that has.
    mutating func noteRecalled(_ snapshot: JobSnapshot) -> [Action] {
        guard state == .running else { return [] }
        var actions: [Action] = []
        for member in snapshot.members {
            let process = JobProcess.rank(member.rank)
            let isWanted = member.isRecalled == true
            if member.drain != .left || !isWanted && !living.contains(process) {
                recalled.remove(process)
            }
            guard isWanted, configuration.ranks.contains(member.rank), !living.contains(process),
                recalled.insert(process).inserted
            else { continue }
            actions.append(.restart(process))
        }
        return actions
    }

    /// Notes which processes leave on purpose, because another one may come for their rank before
    /// they end.
    mutating func noteLeft(_ snapshot: JobSnapshot, _ now: Duration) {
        for member in snapshot.members where member.drain == .left {
            let process = JobProcess.rank(member.rank)
            guard living.contains(process), !recalled.contains(process) else { continue }
            left[process] = left[process] ?? now
        }
    }

    /// Ends processes of ranks that were given up and do not end, as one that is stopped.
    func hung(_ now: Duration) -> [Action] {
        guard configuration.survivesLosses, let snapshot else { return [] }
        return snapshot.members.compactMap { member in
            let process = JobProcess.rank(member.rank)
            guard living.contains(process) else { return nil }
            if let since = left[process] {
                return now - since > JobConfiguration.Deadlines.departure ? .kill(process) : nil
            }
            let limit = JobConfiguration.Deadlines.hung
            guard member.loss != nil, .seconds(member.silentSeconds ?? 0) > limit,
                let start = started[process], now - start > limit * 3
            else { return nil }
            return .kill(process)
        }
    }
}
