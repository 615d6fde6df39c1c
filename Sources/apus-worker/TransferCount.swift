import Checkpoints
import Foundation
import Logging
import Synchronization

/// What is known of a rank's transfers beside them.
final class ReceivedBytes: Sendable {
    private struct State {
        var directory = ""
        var report: @Sendable (LoadProgress) -> Void = { _ in }
    }

    private let state = Mutex(State())

    /// Where bytes go.
    var directory: String {
        get { state.withLock { $0.directory } }
        set { state.withLock { $0.directory = newValue } }
    }

    /// Told how far a large transfer is.
    var report: @Sendable (LoadProgress) -> Void {
        get { state.withLock { $0.report } }
        set { state.withLock { $0.report = newValue } }
    }
}

/// Counts the bytes of one transfer, and says how far it is, at what rate, and how long it takes
/// yet.
final class TransferCount: Sendable {
    private struct State {
        var done = 0
        var new = 0
        var said: ContinuousClock.Instant
        var reported: ContinuousClock.Instant
    }

    /// Smaller transfers are over before anybody reads of them.
    private static let saidBytes = 64 << 20
    private static let sayInterval = Duration.seconds(5)
    private static let reportInterval = Duration.milliseconds(200)

    private let total: Int
    private let began = ContinuousClock.now
    private let progress: ReceivedBytes
    private let log: Logger
    private let state: Mutex<State>

    init(_ total: Int, _ progress: ReceivedBytes, _ log: Logger) {
        self.total = total
        self.progress = progress
        self.log = log
        state = Mutex(State(said: began, reported: began))
    }

    /// - Parameter isNew: Whether the bytes came over the network; else they were here and right.
    func add(_ count: Int, isNew: Bool) {
        let now = ContinuousClock.now
        let (done, isSaid, isReported) = state.withLock { state in
            state.done += count
            if isNew { state.new += count }
            let isSaid = now - state.said >= Self.sayInterval
            let isReported = now - state.reported >= Self.reportInterval
            if isSaid { state.said = now }
            if isReported { state.reported = now }
            return (state.done, isSaid, isReported)
        }
        let load = LoadProgress(loadedBytes: done, totalBytes: total, elapsed: now - began)
        if isReported { progress.report(load) }
        if isSaid { log.info("\(Self.words(load))") }
    }

    func finish() {
        let new = state.withLock { $0.new }
        guard total >= Self.saidBytes else { return }
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        log.notice(
            """
            weights: \(new) bytes received, \(total - new) were here, \
            \(String(format: "%.1f s, %.3f GB/s", seconds, Double(new) / seconds / 1e9))
            """)
    }

    private static func words(_ load: LoadProgress) -> String {
        let left = load.remaining.map { String(format: "%.0f s", $0 / .seconds(1)) } ?? "?"
        return String(
            format: "weights: %.2f of %.2f GB, %.3f GB/s, %@ to go",
            Double(load.loadedBytes) / 1e9, Double(load.totalBytes) / 1e9,
            load.bytesPerSecond / 1e9, left)
    }
}
