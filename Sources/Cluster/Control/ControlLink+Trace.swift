import Foundation

/// What an observer asks of the job's time.
extension ControlLink {
    /// Has a trace taken of what every rank does from now on.
    ///
    /// - Parameter seconds: 1 to 60; the coordinator refuses others.
    /// - Returns: The file that holds it, on the coordinator's machine.
    /// - Throws: `badInput` with the reason where the coordinator says no; `ended` when the job is
    ///   over, `deadline` after `limit`.
    public func trace(seconds: Int, limit: Duration) throws(ClusterError) -> String {
        condition.lock()
        lastTrace = nil
        condition.unlock()
        write(.askTrace(seconds: seconds))
        return try wait(limit, "a trace of \(seconds) s") { self.lastTrace }.get()
    }
}
