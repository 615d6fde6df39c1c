import Encoding
import Topology

/// When a lost rank is started again, and when no more: a value that takes ends and the time.
///
/// The pause before a start doubles from one to the next, so that a rank that cannot live costs
/// little. A rank that lived for `settled` begins anew; one that did not, `mostStarts` times one
/// after the other, is left out.
struct RestartPlan: Sendable {
    /// Before the first start.
    private static let firstPause = Duration.seconds(1)
    /// Before any start.
    private static let longestPause = Duration.seconds(30)
    /// A rank that lived this long does not flap.
    private static let settled = Duration.seconds(60)
    /// Starts of a rank that did not settle.
    static let mostStarts = 5

    private struct Entry: Sendable {
        var starts = 0
        var started = Duration.zero
        var due: Duration?
    }

    private let policy: RestartPolicy
    private var entries: [Rank: Entry] = [:]

    /// A plan of a job that has not lost a rank.
    init(_ policy: RestartPolicy) { self.policy = policy }

    /// Notes that a rank ended.
    ///
    /// - Returns: What is going to be done, in words.
    mutating func ended(_ rank: Rank, now: Duration) -> String {
        guard policy != .never else { return "it is not started again (restart: never)" }
        var entry = entries[rank] ?? Entry()
        if now - entry.started > Self.settled || policy == .always { entry.starts = 0 }
        defer { entries[rank] = entry }
        guard entry.starts < Self.mostStarts else {
            entry.due = nil
            return "it is left out: it was started \(entry.starts) times and lived less than"
                + " \(Self.settled.seconds.formatted(digits: 0)) s each time"
        }
        let pause = min(Self.firstPause * (1 << entry.starts), Self.longestPause)
        entry.due = now + pause
        return "it is started again in \(pause.seconds.formatted(digits: 0)) s"
    }

    /// The ranks whose time has come; each is started once.
    mutating func due(now: Duration) -> [Rank] {
        let ready = entries.filter { $0.value.due.map { $0 <= now } ?? false }.keys.sorted()
        for rank in ready {
            entries[rank]?.due = nil
            entries[rank]?.starts += 1
            entries[rank]?.started = now
        }
        return ready
    }
}
