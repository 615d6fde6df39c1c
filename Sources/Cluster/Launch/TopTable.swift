public import Foundation
import Topology

/// A running job as `apus top` draws it: sums first, then a line per rank.
public enum TopTable {
    /// The lines.
    ///
    /// - Parameters:
    ///   - report: The job, which was asked how it is.
    ///   - rows: Lines that there is room for; ranks beyond them are counted in the last line.
    ///   - columns: Characters of a line; what is sent to whom is drawn where it fits.
    ///   - now: The time at which it is drawn.
    public static func lines(
        _ report: JobReport, rows: Int, columns: Int, now: Date
    ) -> [String] {
        // Other machines wrote parts of it: a terminal is to obey none of them.
        drawn(report, rows: rows, columns: columns, now: now).map(TaggedLog.plain)
    }

    private static func drawn(
        _ report: JobReport, rows: Int, columns: Int, now: Date
    ) -> [String] {
        let place = report.http.map { ", \($0)" } ?? ""
        let age = Int(max(0, now.timeIntervalSince(report.began)))
        let head =
            "\(report.name), \(report.state) for \(clock(age)), process \(report.pid)\(place)"
        guard let snapshot = report.snapshot else {
            return [head] + (report.error.map { [$0] } ?? [])
        }
        let ranks = snapshot.members
        let width = snapshot.titleWidth
        var lines = [head, sums(snapshot), legend, titles(width)]
        let room = max(1, rows - lines.count)
        let shown = ranks.count <= room ? ranks.count : room - 1
        lines += ranks.prefix(shown).map { line($0, width) }
        if shown < ranks.count { lines.append("and \(ranks.count - shown) ranks more") }
        return lines + TopTraffic.lines(snapshot, rows: rows - lines.count, columns: columns)
    }

    private static func sums(_ snapshot: JobSnapshot) -> String {
        if let end = snapshot.end { return "\(end)" }
        let living = snapshot.members.filter { $0.loss == nil }
        let figures = living.compactMap(\.statistics)
        func sum(_ digits: Int, _ value: (RankStatistics) -> Double) -> String {
            figures.reduce(0) { $0 + value($1) }.formatted(digits: digits)
        }
        let loads = living.compactMap(\.loadRatio).max().map {
            ", busiest rank \($0.formatted(digits: 2)) of the mean"
        }
        return "\(living.count) of \(snapshot.members.count) ranks, epoch \(snapshot.epoch):"
            + " \(sum(1, \.tokensPerSecond)) tokens/s,"
            + " \(sum(1, \.promptTokensPerSecond)) prompt tokens/s,"
            + " \(sum(0) { Double($0.runningRequests) }) running,"
            + " \(sum(0) { Double($0.waitingRequests) }) waiting\(loads ?? "")"
    }

    private static let barWidth = 20
    private static let legend =
        "a step's time: e experts, d the rest of the network, x all-to-all that nothing hides,"
        + " . waiting for other ranks"
    private static func titles(_ width: Int) -> String {
        row(
            width, "rank", "node", "phase", "steps/s", "tok/s", "prompt/s", "run", "wait", "cache",
            "load", "a2a", "hidden", "step")
    }

    private static func line(_ member: JobSnapshot.Member, _ width: Int) -> String {
        func alone(_ words: String) -> String {
            left(member.title, width) + left(member.node, 14) + "\(member.phase) \(words)"
        }
        if let absence = member.absence { return alone(absence) }
        if let error = member.lastError { return alone(error) }
        guard member.phase >= .ready, let figures = member.statistics else {
            return alone(member.progress?.description ?? "")
        }
        func percent(_ share: Double) -> String { (share * 100).formatted(digits: 0) + "%" }
        return row(
            width, member.title, member.node, "\(member.phase)",
            figures.stepsPerSecond.formatted(digits: 1),
            figures.tokensPerSecond.formatted(digits: 1),
            figures.promptTokensPerSecond.formatted(digits: 1), "\(figures.runningRequests)",
            "\(figures.waitingRequests)", percent(figures.cacheShare),
            member.loadRatio.map { $0.formatted(digits: 2) } ?? "-",
            percent(figures.allToAllShare), percent(figures.hiddenShare),
            figures.stepsPerSecond > 0 ? bar(figures) : "")
    }

    /// A step's time as letters, each a twentieth of it.
    private static func bar(_ figures: RankStatistics) -> String {
        var bar = ""
        var sum = 0.0
        let network = 1 - figures.expertShare - figures.exposedShare - figures.waitShare
        for (letter, part) in [
            ("e", figures.expertShare), ("d", network), ("x", figures.exposedShare),
            (".", figures.waitShare),
        ] {
            sum = part.isFinite ? min(1, max(0, sum + part)) : sum
            let end = Int((sum * Double(barWidth)).rounded())
            bar += String(repeating: letter, count: max(0, end - bar.count))
        }
        return bar
    }

    private static func row(
        _ width: Int, _ rank: String, _ node: String, _ phase: String, _ figures: String...
    ) -> String {
        let widths = [8, 9, 9, 5, 5, 6, 6, 5, 7]
        let columns = zip(figures, widths).map { right($0, $1) }.joined()
        return left(rank, width) + left(node, 14) + left(phase, 7) + columns
            + "  " + (figures.last ?? "")
    }

    static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }

    private static func clock(_ seconds: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(seconds / 3600):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
    }
}
