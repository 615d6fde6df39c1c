import Encoding
import Foundation

/// What a disturbed job did.
public struct ChaosReport: Sendable {
    /// One disturbance.
    struct Event: Sendable {
        enum Kind: String, CaseIterable, Sendable { case kill, pause, cut, coordinator }

        let kind: Kind
        /// Nil where it was the coordinator.
        let rank: Int?
        /// Until `/health` told of it, in seconds; nil if it did not.
        var detection: Double?
        /// Until the ranks that were left served again.
        var recovery: Double?

        var line: String {
            func text(_ seconds: Double?) -> String {
                seconds.map { String(format: "%.3f s", $0) } ?? "never"
            }
            let target = kind == .cut ? "links of rank" : "rank"
            let verb = kind == .coordinator ? Kind.kill.rawValue : kind.rawValue
            let victim = "\(verb) " + (rank.map { "\(target) \($0)" } ?? "coordinator")
            return "\(victim): known after \(text(detection)), served again"
                + " after \(text(recovery))"
        }
    }

    /// What became of the requests.
    struct Tally: Sendable {
        var answered = 0
        var left = 0
        var failed = 0
        /// Requests that broke off with their coordinator and were asked again.
        var askedAgain = 0
        /// The first reasons of these.
        var reasons: [String] = []
        /// The first answer that differs, in words.
        var wrong: String?
        var tokens = 0
        var longestGap = 0.0

        mutating func add(
            _ answer: ChaosClient.Answer, expected: [UInt8], question: Int, asksAgain: Bool
        ) {
            tokens += answer.pieces
            longestGap = max(longestGap, answer.longestGap)
            let isPart = answer.hasLeft || answer.failure != nil
            let isSame = isPart ? expected.starts(with: answer.text) : answer.text == expected
            if !isSame, wrong == nil {
                let place = zip(answer.text, expected).prefix { $0 == $1 }.count
                wrong =
                    "question \(question) differs from byte \(place) on, of \(expected.count)"
                    + " expected and \(answer.text.count) received"
            }
            if asksAgain {
                askedAgain += 1
            } else if let failure = answer.failure {
                failed += 1
                if reasons.count < 5 { reasons.append(failure) }
            } else if answer.hasLeft {
                left += 1
            } else {
                answered += 1
            }
        }
    }

    private let configuration: ChaosBenchmark.Configuration
    var events: [Event] = []
    var tally = Tally()
    var undisturbedRate = 0.0
    var disturbedRate = 0.0
    var memoryBefore = 0
    var memoryAfter = 0

    init(_ configuration: ChaosBenchmark.Configuration) { self.configuration = configuration }

    /// Whether every request was answered, with the text it has undisturbed, and every loss was
    /// survived.
    public var isGood: Bool {
        tally.wrong == nil && tally.failed == 0 && !events.contains { $0.recovery == nil }
    }

    private func spread(_ values: [Double]) -> (p50: Double, p99: Double, max: Double) {
        let times = ServeReport.Times(values)
        return (times.median / 1000, times.p99 / 1000, values.max() ?? 0)
    }

    /// A table of events, then of requests.
    public var text: String {
        func seconds(_ value: Double) -> String { String(format: "%9.3f", value) }
        var lines = [
            "events    count   detection s: p50      p99      max   recovery s: p50"
                + "      p99      max"
        ]
        for kind in Event.Kind.allCases {
            let those = events.filter { $0.kind == kind }
            guard !those.isEmpty else { continue }
            let found = spread(those.compactMap(\.detection))
            let served = spread(those.compactMap(\.recovery))
            lines.append(
                kind.rawValue.padding(toLength: 11, withPad: " ", startingAt: 0)
                    + String(format: "%6d", those.count) + "     " + seconds(found.p50)
                    + seconds(found.p99) + seconds(found.max) + "       " + seconds(served.p50)
                    + seconds(served.p99) + seconds(served.max))
        }
        let lost = events.count { $0.recovery == nil }
        lines += [
            "not survived            \(lost)",
            "requests answered       \(tally.answered)",
            "requests failed         \(tally.failed)",
            "asked again             \(tally.askedAgain)",
            "clients that left       \(tally.left)",
            "wrong, missing or repeated tokens: \(tally.wrong ?? "none")",
            String(format: "longest gap in a stream %.3f s", tally.longestGap),
            String(
                format: "tokens/s                %.0f (undisturbed %.0f)", disturbedRate,
                undisturbedRate),
            String(
                format: "memory of the ranks     %.1f MB before, %.1f MB after",
                Double(memoryBefore) / 1e6, Double(memoryAfter) / 1e6),
        ]
        return (lines + tally.reasons).joined(separator: "\n")
    }

    /// The same as JSON.
    public var json: String {
        let found = spread(events.compactMap(\.detection))
        let served = spread(events.compactMap(\.recovery))
        return JSONValue.object([
            ("kills", .number(events.count { $0.kind == .kill })),
            ("pauses", .number(events.count { $0.kind == .pause })),
            ("cuts", .number(events.count { $0.kind == .cut })),
            ("coordinators", .number(events.count { $0.kind == .coordinator })),
            ("notSurvived", .number(events.count { $0.recovery == nil })),
            ("detectionP50", .number(found.p50)), ("detectionP99", .number(found.p99)),
            ("detectionMax", .number(found.max)), ("recoveryP50", .number(served.p50)),
            ("recoveryP99", .number(served.p99)), ("recoveryMax", .number(served.max)),
            ("answered", .number(tally.answered)), ("failed", .number(tally.failed)),
            ("askedAgain", .number(tally.askedAgain)),
            ("left", .number(tally.left)),
            ("wrong", tally.wrong.map(JSONValue.string) ?? .null),
            ("longestGap", .number(tally.longestGap)),
            ("tokensPerSecond", .number(disturbedRate)),
            ("undisturbedTokensPerSecond", .number(undisturbedRate)),
            ("memoryBefore", .number(memoryBefore)), ("memoryAfter", .number(memoryAfter)),
        ]).text
    }
}
