import Foundation

/// What an observer asks about the placement of experts.
extension ControlLink {
    /// Where the experts of the job are, and how much each is used.
    ///
    /// - Throws: `ended` when the job is over, `deadline` after `limit`.
    public func placement(limit: Duration) throws(ClusterError) -> PlacementReport {
        try ask(.askPlacement, limit)
    }

    /// Asks for the experts of a group in other places.
    ///
    /// - Returns: The state of the job once that is under way.
    /// - Throws: `badInput` with the reason where the coordinator says no; `ended` when the job is
    ///   over, `deadline` after `limit`.
    public func place(
        _ request: PlacementRequest, limit: Duration
    ) throws(ClusterError) -> PlacementReport {
        try ask(.place(request), limit)
    }

    private func ask(
        _ question: ControlFrame, _ limit: Duration
    ) throws(ClusterError) -> PlacementReport {
        condition.lock()
        lastPlacement = nil
        condition.unlock()
        write(question)
        return try wait(limit, "an answer about the placement of experts") {
            self.lastPlacement
        }.get()
    }
}
