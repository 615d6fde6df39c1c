/// A process that was started, on this machine or on another.
protocol RunningProcess: Sendable {
    /// How it ended, or nil while it runs.
    var end: ProcessEnd? { get }

    /// Sends a signal to the process and everything it started.
    func signal(_ number: Int32)
}
