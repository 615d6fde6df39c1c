import Foundation
public import Topology

/// What an observer asks of a rank's place in the job.
extension ControlLink {
    /// Has a rank leave on purpose; returns once it has left.
    ///
    /// - Throws: `badInput` with why it cannot leave, or stays after all; `ended` when the job is
    ///   over or its coordinator lost, and `deadline` after `limit`. After those two it may still
    ///   leave.
    public func drain(_ rank: Rank, limit: Duration) throws(ClusterError) {
        change { $0.lastDrain = nil }
        write(.askDrain(rank))
        try wait(limit, "the end of the drain of \(rank)") { self.lastDrain }.get()
    }

    /// Waits until every rank takes part in its epoch, and prepares for none.
    ///
    /// - Throws: `ended` when the job is over or its coordinator lost; `deadline` after `limit`.
    public func waitUntilSettled(limit: Duration) throws(ClusterError) {
        try wait(limit, "the end of the change of epochs") { () -> Void? in
            self.lastSnapshot.flatMap { $0.isChanging == true ? nil : () }
        }
    }

    /// Has a rank that left on purpose come back; returns once it takes part.
    ///
    /// - Throws: `badInput` with why it cannot come back, or is not back after all; `ended` when
    ///   the job is over or its coordinator lost, and `deadline` after `limit`. After those two it
    ///   may still come back.
    public func recall(_ rank: Rank, limit: Duration) throws(ClusterError) {
        change { $0.lastReturn = nil }
        write(.askReturn(rank))
        try wait(limit, "the return of \(rank)") { self.lastReturn }.get()
    }
}
