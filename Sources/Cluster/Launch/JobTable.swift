import Topology

/// A job as people see it: one line per rank.
public struct JobTable: Sendable {
    private var shown: [String] = []

    /// A table nothing has been shown of.
    public init() {}

    /// The whole table.
    public static func lines(_ snapshot: JobSnapshot) -> [String] {
        let width = snapshot.titleWidth
        var lines = [header(snapshot), row("rank", width, "node", "pid", "phase", "detail")]
        lines += snapshot.members.map { member in
            row(
                member.title, width, member.node, member.pid == 0 ? "-" : "\(member.pid)",
                "\(member.phase)", detail(member))
        }
        // Other machines wrote parts of it: a terminal is to obey none of them.
        return lines.map(TaggedLog.plain)
    }

    /// The lines that say something new since the last call: for logs and pipes, which cannot be
    /// redrawn.
    public mutating func changes(_ snapshot: JobSnapshot) -> [String] {
        let now = snapshot.members.map { member in
            if let absence = member.absence { return "\(member.rank): \(absence)" }
            let error = member.lastError.map { ": \($0)" } ?? ""
            return "\(member.rank): \(member.phase)\(error)"
        }.map(TaggedLog.plain)
        defer { shown = now }
        guard shown.count == now.count else { return now }
        return zip(shown, now).filter { $0 != $1 }.map { $1 }
    }

    private static func header(_ snapshot: JobSnapshot) -> String {
        if let end = snapshot.end { return "\(end)" }
        if let awaited = snapshot.awaited {
            let names = awaited.map { "\($0)" }.joined(separator: ", ")
            return "takes the job over, epoch \(snapshot.epoch), waits for \(names)"
        }
        let left = snapshot.secondsLeft.map { ", \($0.formatted(digits: 0)) s left" } ?? ""
        return "phase \(snapshot.phase)\(left), epoch \(snapshot.epoch)"
    }

    private static func row(
        _ rank: String, _ width: Int, _ node: String, _ pid: String, _ phase: String,
        _ detail: String
    ) -> String {
        func left(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        return left(rank, width) + left(node, 16) + left(pid, 9) + left(phase, 9) + detail
    }

    private static func detail(_ member: JobSnapshot.Member) -> String {
        if let absence = member.absence { return absence }
        if let error = member.lastError { return error }
        if member.phase == .load, let progress = member.progress { return progress.description }
        guard member.phase >= .ready, let figures = member.statistics else { return "" }
        return "\(figures.steps) steps, \(figures.stepsPerSecond.formatted(digits: 1)) steps/s,"
            + " \(figures.tokensPerSecond.formatted(digits: 1)) tokens/s,"
            + " all-to-all \((figures.allToAllShare * 100).formatted(digits: 1))%"
            + " (\((figures.hiddenShare * 100).formatted(digits: 0))% hidden),"
            + " \(figures.runningRequests) running, \(figures.waitingRequests) waiting"
    }
}
