import Synchronization

/// Counts what the ranks of a simulation have finished, in real time, and passes it on.
final class SimulationProgress: Sendable {
    /// Gets what is finished and what there is to do, from the thread of any rank.
    typealias Report = @Sendable (_ done: Int, _ of: Int) -> Void

    private let done = Mutex(0)
    private let total: Int
    private let report: Report

    init(total: Int, report: @escaping Report) {
        self.total = total
        self.report = report
    }

    /// Counts what a rank has just finished.
    func add(_ count: Int) {
        let now = done.withLock { done in
            done += count
            return done
        }
        report(now, total)
    }
}
