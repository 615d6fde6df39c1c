import Checkpoints
import Cluster
import Foundation
import Synchronization

/// A line on standard error that shows how far a long piece of work is: bytes, GB/s and time to go.
///
/// Only where a person watches: a file or a pipe gets nothing.
final class ProgressBar: Sendable {
    private static let width = 30
    private static let interval = Duration.milliseconds(100)

    private let name: String
    private let isShown = isatty(STDERR_FILENO) == 1
    private let lastShown = Mutex<ContinuousClock.Instant?>(nil)

    init(_ name: String) { self.name = name }

    /// Redraws the line, ten times a second at most.
    func show(_ progress: LoadProgress) {
        guard isShown else { return }
        let now = ContinuousClock.now
        let isDone = progress.loadedBytes >= progress.totalBytes
        let isDue = lastShown.withLock { last in
            if let last, now - last < Self.interval, !isDone { return false }
            last = now
            return true
        }
        guard isDue else { return }
        let fraction = Double(progress.loadedBytes) / Double(max(1, progress.totalBytes))
        let filled = Int(fraction * Double(Self.width))
        let bar =
            String(repeating: "#", count: filled)
            + String(repeating: ".", count: Self.width - filled)
        let toGo = progress.remaining.map { String(format: "%.0f s", $0 / .seconds(1)) } ?? "?"
        let text = String(
            format: "%@ [%@] %3.0f%%  %.2f of %.2f GB  %.2f GB/s  %@ to go", name, bar,
            fraction * 100, Double(progress.loadedBytes) / 1e9, Double(progress.totalBytes) / 1e9,
            progress.bytesPerSecond / 1e9, toGo)
        StandardStream.error.say("\r\(text)\u{1B}[K")
    }

    /// Leaves the line.
    func finish() {
        if isShown && lastShown.withLock({ $0 != nil }) { StandardStream.error.say("\n") }
    }
}
