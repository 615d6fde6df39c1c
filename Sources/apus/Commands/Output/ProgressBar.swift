import Checkpoints
import Cluster
import Foundation
import Synchronization

/// A line on standard error that shows how far a long piece of work is, and the time to go.
///
/// Only where a person watches: a file or a pipe gets nothing.
final class ProgressBar: Sendable {
    private static let width = 30
    private static let interval = Duration.milliseconds(100)

    private let name: String
    private let isShown = isatty(STDERR_FILENO) == 1
    private let begin = ContinuousClock.now
    private let lastShown = Mutex<ContinuousClock.Instant?>(nil)

    init(_ name: String) { self.name = name }

    /// Shows bytes, and how many come in a second.
    func show(_ progress: LoadProgress) {
        draw(Double(progress.loadedBytes) / Double(max(1, progress.totalBytes))) {
            String(
                format: "%.2f of %.2f GB  %.2f GB/s  ", Double(progress.loadedBytes) / 1e9,
                Double(progress.totalBytes) / 1e9, progress.bytesPerSecond / 1e9)
                + Self.text(progress.remaining)
        }
    }

    /// Shows a count of what is done; the rest takes as long as that did, each.
    func show(_ done: Int, of total: Int, _ unit: String) {
        let share = Double(done) / Double(max(1, total))
        draw(share) {
            let left = share > 0 ? (ContinuousClock.now - begin) * (1 / share - 1) : nil
            return "\(done) of \(total) \(unit)  " + Self.text(left)
        }
    }

    private static func text(_ remaining: Duration?) -> String {
        (remaining.map { String(format: "%.0f s", $0 / .seconds(1)) } ?? "?") + " to go"
    }

    /// Redraws the line, ten times a second at most.
    private func draw(_ fraction: Double, _ details: () -> String) {
        guard isShown else { return }
        let now = ContinuousClock.now
        let isDone = fraction >= 1
        let isDue = lastShown.withLock { last in
            if let last, now - last < Self.interval, !isDone { return false }
            last = now
            return true
        }
        guard isDue else { return }
        let filled = Int(fraction * Double(Self.width))
        let bar =
            String(repeating: "#", count: filled)
            + String(repeating: ".", count: Self.width - filled)
        let text = String(format: "%@ [%@] %3.0f%%  ", name, bar, fraction * 100) + details()
        StandardStream.error.say("\r\(text)\u{1B}[K")
    }

    /// Leaves the line.
    func finish() {
        if isShown && lastShown.withLock({ $0 != nil }) { StandardStream.error.say("\n") }
    }
}
