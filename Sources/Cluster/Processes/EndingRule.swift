import Glibc

/// The rule for ending processes: SIGTERM once, some patience, then SIGKILL until none is left.
///
/// SIGTERM is sent once because our programs take a second one as a demand to hurry.
struct EndingRule {
    /// Long enough for a process to write its last line. SIGKILL follows because a program inherits
    /// that its caller ignores or blocks SIGTERM.
    static let patience = Duration.seconds(2)

    /// From SIGTERM to SIGKILL.
    var patience = Self.patience
    /// After which those that are left are given up; nil for never.
    var limit: Duration?
    /// Between two counts of the processes.
    var pause = Duration.milliseconds(5)

    /// Ends processes.
    ///
    /// - Parameter count: Sends a signal, if there is one, to every process that is left, and
    ///   returns their number.
    /// - Returns: How many processes are left: 0 where there is no limit.
    @discardableResult
    func end<Failure: Error>(
        _ count: (Int32?) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        let begin = ContinuousClock.now
        var left = try count(SIGTERM)
        while left > 0 {
            let elapsed = ContinuousClock.now - begin
            if let limit, elapsed > limit { break }
            usleep(UInt32(clamping: Int64(pause / .microseconds(1))))
            left = try count(elapsed < patience ? nil : SIGKILL)
        }
        return left
    }
}
