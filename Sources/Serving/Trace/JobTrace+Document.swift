import Encoding
public import Foundation
import Topology

/// The trace as Chrome and Perfetto read it: <https://ui.perfetto.dev>.
extension JobTrace {
    /// A rank's lanes, from top to bottom. Two dispatches or combines may be under way at a time,
    /// so each has two.
    private enum Lane: Int, CaseIterable {
        case step, wait, compute, experts, dispatchA, dispatchB, combineA, combineB, exposed
        case draft, sampling, idle

        var title: String {
            switch self {
            case .step: "step"
            case .wait: "waiting for ranks"
            case .compute: "attention and dense compute"
            case .experts: "expert compute"
            case .dispatchA, .dispatchB: "dispatch"
            case .combineA, .combineB: "combine"
            case .exposed: "exposed wait"
            case .draft: "draft"
            case .sampling: "sampling"
            case .idle: "idle"
            }
        }
    }

    /// What each rank's time went into.
    var summary: TraceSummary { TraceSummary(self) }

    /// Where documents are made, of up to 60 MB: behind everything else that computes.
    private static let lane = WorkLane("apus-traces", niceness: 10)

    /// One JSON document: `traceEvents`, and in `otherData` the summary with each rank's clock
    /// error.
    public func document() async throws -> Data {
        try await Self.lane.run(for: "") { try json() }
    }

    /// As `document`, on this thread.
    package func json() throws -> Data {
        var text = Data("{\"displayTimeUnit\":\"ms\",\"otherData\":".utf8)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        text += try encoder.encode(OtherData(program: ApusVersion.current, summary: summary))
        text += Data(",\"traceEvents\":[".utf8)
        var isFirst = true
        for rank in ranks {
            var lines = Self.names(of: rank.rank)
            let placed = PlacedEvents(rank, of: self)
            for (event, span) in placed.events { Self.write(event, span, rank.rank, &lines) }
            Self.write(placed.compute, .compute, rank.rank, &lines)
            Self.write(placed.idle, .idle, rank.rank, &lines)
            lines += rates(placed, rank.rank)
            if !isFirst { text += Data(",".utf8) }
            isFirst = false
            text += Data(("\n" + lines.joined(separator: ",\n")).utf8)
        }
        text += Data("\n]}\n".utf8)
        return text
    }

    /// What stands beside the events.
    private struct OtherData: Encodable {
        let program: String
        let summary: TraceSummary
    }

    private static func names(of rank: Int) -> [String] {
        let head = "\"ph\":\"M\",\"pid\":\(rank)"
        var lines = [
            "{\"name\":\"process_name\",\(head),\"args\":{\"name\":\"rank \(rank)\"}}",
            "{\"name\":\"process_sort_index\",\(head),\"args\":{\"sort_index\":\(rank)}}",
        ]
        for lane in Lane.allCases {
            let head = head + ",\"tid\":\(lane.rawValue)"
            lines.append(
                "{\"name\":\"thread_name\",\(head),\"args\":{\"name\":\"\(lane.title)\"}}")
            lines.append(
                "{\"name\":\"thread_sort_index\",\(head),\"args\":{\"sort_index\":"
                    + "\(lane.rawValue)}}")
        }
        return lines
    }

    /// Microseconds with three digits after the point: nanoseconds are whole.
    private static func microseconds(_ nanoseconds: Int64) -> String {
        let (whole, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1000)
        let digits = "\(rest)"
        return "\(whole)." + String(repeating: "0", count: 3 - digits.count) + digits
    }

    private static func complete(
        _ lane: Lane, _ span: Range<Int64>, _ rank: Int, _ arguments: String = ""
    ) -> String {
        "{\"name\":\"\(lane.title)\",\"ph\":\"X\",\"pid\":\(rank),\"tid\":\(lane.rawValue),"
            + "\"ts\":\(microseconds(span.lowerBound)),"
            + "\"dur\":\(microseconds(span.upperBound - span.lowerBound)),\"args\":{\(arguments)}}"
    }

    private static func write(
        _ spans: TimeSpans, _ lane: Lane, _ rank: Int, _ lines: inout [String]
    ) {
        for span in spans.spans { lines.append(complete(lane, span, rank)) }
    }

    private static func write(
        _ event: RankEvent, _ span: Range<Int64>, _ rank: Int, _ lines: inout [String]
    ) {
        let step = "\"step\":\(event.step)"
        let peer = event.peer.map { ",\"awaited\":\($0)" } ?? ""
        let exchange = "\(step),\"exchange\":\(event.number)"
        func add(_ lane: Lane, _ arguments: String) {
            lines.append(complete(lane, span, rank, arguments))
        }
        let isOdd = event.number % 2 == 1
        switch event.kind {
        case .step:
            add(
                .step,
                step + ",\"rows\":\(event.rows),\"micro_batches\":\(event.parts),"
                    + "\"new_tokens\":\(event.number)")
        case .wait: add(.wait, step)
        case .dispatch:
            add(
                isOdd ? .dispatchA : .dispatchB, exchange + ",\"tokens\":\(event.rows)\(peer)")
        case .combine:
            add(isOdd ? .combineA : .combineB, exchange + ",\"tokens\":\(event.rows)\(peer)")
        case .exposed: add(.exposed, exchange + peer)
        case .experts: add(.experts, step)
        case .draft: add(.draft, step)
        case .sampling: add(.sampling, step)
        case .queue:
            lines.append(
                counter(
                    "requests", span.lowerBound, rank,
                    "\"running\":\(event.rows),\"waiting\":\(event.number)"))
        case .admitted, .finished, .epoch, .lost, .failed:
            lines.append(
                "{\"name\":\"\(event.kind)\",\"ph\":\"i\",\"s\":\"p\",\"pid\":\(rank),\"tid\":0,"
                    + "\"ts\":\(microseconds(span.lowerBound)),"
                    + "\"args\":{\"number\":\(event.number)}}")
        case .stepBegan, .dispatchBegan, .combineBegan: break
        }
    }

    private static func counter(
        _ name: String, _ time: Int64, _ rank: Int, _ arguments: String
    ) -> String {
        "{\"name\":\"\(name)\",\"ph\":\"C\",\"pid\":\(rank),"
            + "\"ts\":\(microseconds(time)),\"args\":{\(arguments)}}"
    }

    /// Tokens per second, in intervals of a tenth of a second.
    private func rates(_ placed: PlacedEvents, _ rank: Int) -> [String] {
        let interval: Int64 = 100_000_000
        var tokens = [UInt64](repeating: 0, count: Int(placed.window.upperBound / interval))
        for (event, span) in placed.events where event.kind == .step {
            let place = Int(span.upperBound / interval)
            // Any number may have come from a rank: what would overflow wraps.
            if tokens.indices.contains(place) { tokens[place] &+= event.number }
        }
        return tokens.enumerated().map { index, count in
            Self.counter(
                "tokens/s", Int64(index) * interval, rank, "\"tokens\":\(count &* 10)")
        }
    }
}
