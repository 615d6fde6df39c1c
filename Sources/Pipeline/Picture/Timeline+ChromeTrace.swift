public import Foundation
import Topology

/// One event of the Chrome trace format, which Perfetto also opens.
private struct TraceEvent: Encodable {
    let name: String
    let cat: String
    let ph: String
    let ts: Double?
    let dur: Double?
    let pid: Int
    let tid: Int
    let args: [String: String]
}

extension Timeline {
    /// Writes several timelines as processes of one Chrome trace; a rank's lanes are threads.
    ///
    /// - Parameter microsecondsPerUnit: What one unit of the timelines is drawn as.
    public static func chromeTrace(
        _ timelines: [Timeline], microsecondsPerUnit: Double = 1000
    ) throws -> Data {
        var events: [TraceEvent] = []
        for (process, timeline) in timelines.enumerated() {
            events.append(
                TraceEvent(
                    name: "process_name", cat: "__metadata", ph: "M", ts: nil, dur: nil,
                    pid: process, tid: 0, args: ["name": timeline.title]))
            for rank in 0 ..< timeline.rankCount {
                for (lane, name) in ["compute", "communication", "exposed"].enumerated() {
                    events.append(
                        TraceEvent(
                            name: "thread_name", cat: "__metadata", ph: "M", ts: nil, dur: nil,
                            pid: process, tid: 3 * rank + lane,
                            args: ["name": "rank \(rank) \(name)"]))
                }
            }
            for entry in timeline.entries {
                let lane = entry.kind == .exposed ? 2 : entry.lane == .compute ? 0 : 1
                events.append(
                    TraceEvent(
                        name: entry.label, cat: entry.kind.rawValue, ph: "X",
                        ts: entry.start * microsecondsPerUnit,
                        dur: (entry.end - entry.start) * microsecondsPerUnit, pid: process,
                        tid: 3 * entry.rank.rawValue + lane, args: [:]))
            }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(["traceEvents": events])
    }
}
