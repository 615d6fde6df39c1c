/// How a launcher replaces the coordinator of a job that goes on without it.
extension JobRun {
    /// Whether another coordinator is to take the place of one that is lost.
    var isReplacing: Bool {
        if case .replacing = state { return true }
        return false
    }

    /// Whether another coordinator takes the place of one that is lost.
    var replacesCoordinator: Bool {
        isAnnounced && configuration.survivesLosses && configuration.coordinatorLimit > .zero
            && configuration.restart != .never
    }

    /// The coordinator is gone, and did not end the job.
    mutating func replace(_ end: ProcessEnd, _ now: Duration) -> [Action] {
        // It was asked to end, and did so in order.
        guard !end.isSuccess else { return conclude(.done, now) }
        guard replacesCoordinator else { return conclude(.exited(.coordinator, end, nil), now) }
        let ends = [(.coordinator, end)] + unreported
        unreported = []
        let reports = ends.map { report($0.0, $0.1, now) }
        guard restarts.isAboutToStart(.coordinator) else {
            return reports + conclude(.exited(.coordinator, end, nil), now)
        }
        // Ranks wait from when they lost the one that they had joined, as this launcher did.
        enter(.replacing(end), since)
        return reports
    }

    mutating func report(
        _ process: JobProcess, _ end: ProcessEnd, _ now: Duration
    ) -> Action {
        let plan =
            hasDrained(process, end)
            ? "it was drained, and is not started again" : restarts.ended(process, now: now)
        return .report(process, end, plan: plan)
    }

    /// Whether a rank that ended was asked to leave.
    ///
    /// One that left stays away, however its process ends, and whatever has become of the rank
    /// since. Of one that ended in order the coordinator may still say that it is about to leave.
    private func hasDrained(_ process: JobProcess, _ end: ProcessEnd) -> Bool {
        guard case .rank(let rank) = process else { return false }
        let drain = snapshot?.members.first { $0.rank == rank }?.drain
        return left[process] != nil || drain == .left || drain == .leaving && end.isSuccess
    }
}
