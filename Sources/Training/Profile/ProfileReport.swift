import Foundation
import Pipeline

/// What a profile found, as `profile.json` keeps it and people read it; times in seconds.
struct ProfileReport: Codable, Sendable {
    /// One rank under one schedule.
    struct RankReport: Codable, Sendable {
        /// Its number among all ranks.
        var rank: Int
        /// Mean time per step in which it computes nothing.
        var bubble: Double
        /// The same in the simulation that was fed with the measured step times.
        var simulatedBubble: Double
        /// Travel of the all-to-all of the overlapped pairs when they are run without overlap.
        var allToAll: Double?
        /// Waits for the all-to-all of the same pairs with overlap.
        var exposed: Double?

        /// What overlap hides of the all-to-all in the steady state.
        var hiddenShare: Double? {
            guard let allToAll, let exposed, allToAll > 0 else { return nil }
            return 1 - exposed / allToAll
        }
    }

    /// One schedule.
    struct ScheduleReport: Codable, Sendable {
        /// Which.
        var schedule: ScheduleKind
        /// Mean time from the first to the last computation of any rank.
        var makespan: Double
        /// The same in the simulation that was fed with the measured step times.
        var simulatedMakespan: Double
        /// Overlapped pairs of a rank, at most.
        var pairs: Int
        /// The all-to-all without overlap over the computation of the same steps.
        var travelRatio: Double?
        /// Every rank, in order.
        var ranks: [RankReport]

        var bubble: Double { ranks.reduce(0) { $0 + $1.bubble } / Double(max(ranks.count, 1)) }
        var simulatedBubble: Double {
            ranks.reduce(0) { $0 + $1.simulatedBubble } / Double(max(ranks.count, 1))
        }
    }

    /// Whether computation was sleep of its measured processor time.
    var sleeps: Bool
    /// Whether every expert got as many tokens, whatever the gates said.
    var routesEvenly: Bool
    /// Measured steps.
    var steps: Int
    /// The job's schedule, then the one it is set against.
    var schedules: [ScheduleReport]

    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return try encoder.encode(self)
    }

    /// The report as people read it.
    var lines: [String] {
        var lines = [
            "profile of \(steps) steps"
                + (routesEvenly ? "; every expert gets as many tokens" : "")
                + (sleeps ? "; computation is sleep of its measured processor time" : "")
        ]
        for schedule in schedules { lines += Self.lines(schedule) }
        if schedules.count == 2 {
            let (own, other) = (schedules[0], schedules[1])
            lines.append(
                String(
                    format: "%@ over %@: %.3f times the makespan measured, %.3f simulated",
                    other.schedule.title, own.schedule.title, other.makespan / own.makespan,
                    other.simulatedMakespan / own.simulatedMakespan))
        }
        return lines
    }

    private static func lines(_ report: ScheduleReport) -> [String] {
        func milliseconds(_ seconds: Double) -> String {
            // What rounds to nothing has no sign.
            let tenths = (10_000 * seconds).rounded()
            return String(format: "%.1f ms", tenths == 0 ? 0 : tenths / 10)
        }
        func difference(_ a: Double, _ b: Double) -> String {
            b > 0 ? String(format: "%+.1f%%", 100 * (a / b - 1)) : "-"
        }
        var lines = [
            "\(report.schedule.title): makespan \(milliseconds(report.makespan)), simulated "
                + "\(milliseconds(report.simulatedMakespan)) "
                + "(\(difference(report.makespan, report.simulatedMakespan))); mean bubble "
                + "\(milliseconds(report.bubble)), simulated "
                + "\(milliseconds(report.simulatedBubble)) "
                + "(\(difference(report.bubble, report.simulatedBubble)))"
        ]
        if let ratio = report.travelRatio {
            lines.append(
                String(
                    format: "  all-to-all without overlap takes %.2f times the computation", ratio))
        }
        for rank in report.ranks {
            var line =
                "  rank \(rank.rank): bubble \(milliseconds(rank.bubble)), simulated "
                + milliseconds(rank.simulatedBubble)
            if let total = rank.allToAll, let exposed = rank.exposed, report.pairs > 0 {
                line +=
                    "; all-to-all of the pairs: exposed \(milliseconds(exposed)) of "
                    + "\(milliseconds(total))"
                if let hidden = rank.hiddenShare {
                    line += String(format: ", %.1f%% hidden", 100 * hidden)
                }
            }
            lines.append(line)
        }
        return lines
    }
}
