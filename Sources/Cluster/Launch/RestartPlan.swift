import Encoding
import Topology

/// When a lost process is started again, and when no more: a value that takes ends and the time.
///
/// The pause before a start doubles from one to the next, so that one that cannot live costs
/// little. A process that lived for `settled` begins anew; one that did not, `mostStarts` times one
/// after the other, is left out.
struct RestartPlan: Sendable {
    /// Before the first start.
    private static let firstPause = Duration.seconds(1)
    /// Before any start.
    private static let longestPause = Duration.seconds(30)
    /// A process that lived this long does not flap.
    private static let settled = Duration.seconds(60)
    /// Starts of a process that did not settle.
    static let mostStarts = 5

    private struct Entry: Sendable {
        var starts = 0
        var started = Duration.zero
        var due: Duration?
    }

    private let policy: RestartPolicy
    private var entries: [JobProcess: Entry] = [:]

    /// A plan of a job that has not lost a process.
    init(_ policy: RestartPolicy) { self.policy = policy }

    /// Notes that a process ended.
    ///
    /// - Returns: What is going to be done, in words.
    mutating func ended(_ process: JobProcess, now: Duration) -> String {
        guard policy != .never else { return "it is not started again (restart: never)" }
        var entry = entries[process] ?? Entry()
        if now - entry.started > Self.settled || policy == .always { entry.starts = 0 }
        defer { entries[process] = entry }
        guard entry.starts < Self.mostStarts else {
            entry.due = nil
            return "it is left out: it was started \(entry.starts) times and lived less than"
                + " \(Self.settled.seconds.formatted(digits: 0)) s each time"
        }
        let pause = min(Self.firstPause * (1 << entry.starts), Self.longestPause)
        entry.due = now + pause
        return "it is started again in \(pause.seconds.formatted(digits: 0)) s"
    }

    /// Whether a process that ended is about to be started.
    func isAboutToStart(_ process: JobProcess) -> Bool { entries[process]?.due != nil }

    /// The processes whose time has come, the coordinator first; each is started once.
    mutating func due(now: Duration) -> [JobProcess] {
        let ready = entries.filter { $0.value.due.map { $0 <= now } ?? false }.keys
            .sorted { $0.order < $1.order }
        for process in ready {
            entries[process]?.due = nil
            entries[process]?.starts += 1
            entries[process]?.started = now
        }
        return ready
    }
}

extension JobProcess {
    fileprivate var order: Int {
        switch self {
        case .coordinator: -1
        case .rank(let rank): rank.rawValue
        }
    }
}
