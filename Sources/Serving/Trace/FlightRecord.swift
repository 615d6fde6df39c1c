import Encoding
import Foundation
import Topology

/// The last events of a rank, as a file holds them: a line of JSON that says whose and when, then
/// one line per event, oldest first.
package struct FlightRecord: Hashable, Sendable {
    /// The first line.
    struct Head: Codable, Hashable, Sendable {
        /// Of the format.
        var flight = 1
        var rank: Int
        /// Why it was written.
        var reason: String
        var node: String
        /// Of the machine since it started: ranks with the same one have the same clock.
        var boot: String
        /// Nanoseconds since 1970, and of the rank's clock at the same moment.
        var wall: Int64
        var clock: Int64
        /// Events that came before and are gone.
        var older: Int
        var program: String

        static func now(rank: Int, reason: String, older: Int) -> Head {
            let wall = Date().timeIntervalSince1970
            return Head(
                rank: rank, reason: reason, node: ProcessInfo.processInfo.hostName,
                boot: SystemFiles().text("proc/sys/kernel/random/boot_id") ?? "",
                wall: Int64(wall * 1e9), clock: Int64(clamping: RankRecorder.now), older: older,
                program: ApusVersion.current)
        }
    }

    /// A line of an event.
    private struct Line: Codable {
        var kind: String
        var began: UInt64
        var ended: UInt64?
        var step: UInt64
        var number: UInt64?
        var peer: Int?
        var rows: Int?
        var parts: Int?
        var note: String?
    }

    var head: Head
    var events: [RankEvent]

    /// Bytes of a file: a thousand events are a sixth of it.
    static let mostBytes = 1 << 20

    // MARK: Writing

    init(head: Head, events: [RankEvent]) {
        self.head = head
        self.events = events
    }

    /// Whether a step ended after another record of the rank was taken.
    func hasStep(since other: FlightRecord) -> Bool {
        events.contains { $0.kind == .step && Int64(clamping: $0.ended) > other.head.clock }
    }

    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes = try encoder.encode(head) + Data("\n".utf8)
        for event in events {
            let line = Line(
                kind: "\(event.kind)", began: event.began,
                ended: event.ended == event.began ? nil : event.ended, step: event.step,
                number: event.number == 0 ? nil : event.number, peer: event.peer,
                rows: event.rows == 0 ? nil : event.rows,
                parts: event.parts == 0 ? nil : event.parts,
                note: event.note.map { $0.printable(limit: Self.longestNote) })
            bytes += try encoder.encode(line) + Data("\n".utf8)
        }
        return bytes
    }

    /// Scalars of an error's words.
    private static let longestNote = 500

    // MARK: Reading

    /// Reads a file that anybody may have written.
    ///
    /// - Throws: `ServingError.configuration` with the file, the line and what is wrong with it.
    package init(contentsOf path: String) throws(ServingError) {
        let bytes = try WholeFile.read(path, limit: Self.mostBytes) {
            ServingError.configuration(message: "\(path.printable(limit: 200)): \($0)")
        }
        try self.init(bytes, path: path)
    }

    init(_ bytes: Data, path: String) throws(ServingError) {
        func fault(_ line: Int, _ fact: String) -> ServingError {
            .configuration(
                message: "\(path.printable(limit: 200)), line \(line): \(fact): apus trace --flight"
                    + " reads what ranks write to the folder flight")
        }
        let lines = bytes.split(separator: UInt8(ascii: "\n"))
        guard lines.count <= RankRecorder.kept + 1 else {
            throw fault(lines.count, "a record has \(RankRecorder.kept) events at most")
        }
        let decoder = JSONDecoder()
        guard let first = lines.first, let head = try? decoder.decode(Head.self, from: first),
            head.flight == 1
        else { throw fault(1, "no head of a flight record of version 1") }
        self.head = head
        events = []
        for (index, text) in lines.enumerated().dropFirst() {
            guard let line = try? decoder.decode(Line.self, from: text),
                let kind = RankEvent.Kind.allCases.first(where: { "\($0)" == line.kind }),
                line.began <= line.ended ?? line.began, line.ended ?? line.began <= Int64.max
            else { throw fault(index + 1, "no event") }
            events.append(
                RankEvent(
                    kind: kind, began: line.began, ended: line.ended ?? line.began,
                    step: line.step, number: line.number ?? 0, peer: line.peer,
                    rows: line.rows ?? 0, parts: line.parts ?? 0, note: line.note))
        }
    }

    // MARK: Words

    /// The events of several ranks in the order of their times, a line each.
    ///
    /// Ranks of one machine have one clock. Those of several are placed by the wall clocks of their
    /// machines, and are as exact as these.
    package static func lines(merging records: [FlightRecord]) -> [String] {
        var bases: [String: Head] = [:]
        for record in records where bases[record.head.boot] == nil {
            bases[record.head.boot] = record.head
        }
        let dated = records.flatMap { record in
            let base = bases[record.head.boot] ?? record.head
            return record.events.map { event in
                let age = base.clock &- Int64(clamping: event.ended)
                return (at: base.wall &- age, rank: record.head.rank, event: event)
            }
        }
        let heads = records.map { record in
            let head = record.head
            let lost = head.older > 0 ? ", \(head.older) came before" : ""
            return "rank \(head.rank) on \(head.node.printable()): \(record.events.count) events"
                + "\(lost); written because \(head.reason.printable(limit: longestNote))"
        }
        var lines = heads
        if bases.count > 1 {
            lines.append(
                "\(bases.count) machines: their ranks are as exact beside each other as the"
                    + " machines' wall clocks")
        }
        return lines
            + dated.sorted { ($0.at, $0.rank) < ($1.at, $1.rank) }.map {
                "\(time($0.at))  rank \($0.rank)  \($0.event.words)"
            }
    }

    /// As `2026-11-30T01:45:00.123456Z`.
    private static func time(_ nanoseconds: Int64) -> String {
        let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
        let text = Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
        return text.dropLast() + String(format: ".%06dZ", max(0, rest / 1000))
    }
}

extension RankEvent {
    /// The event as people read it.
    var words: String {
        let took = String(format: "%.3f ms", Double(duration) / 1e6)
        let named = peer.map { "rank \($0)" }
        let why = note.map { ": " + $0.printable(limit: 500) } ?? ""
        return switch kind {
        case .stepBegan: "step \(step) began, \(rows) rows"
        case .step:
            "step \(step) ended after \(took): \(rows) rows in \(parts) micro-batches, "
                + "\(number) tokens"
        case .wait: "step \(step) waited \(took) for other ranks to begin"
        case .dispatchBegan: "step \(step): dispatch \(number) began, \(rows) tokens"
        case .combineBegan: "step \(step): combine \(number) began"
        case .dispatch, .combine:
            "step \(step): \(kind) \(number) took \(took)" + (named.map { ", \($0) last" } ?? "")
        case .exposed, .experts, .draft, .sampling: "step \(step): \(kind) took \(took)"
        case .queue: "\(rows) requests run, \(number) wait"
        case .admitted: "request \(number) came"
        case .finished: "request \(number) ended"
        case .epoch: "epoch \(number) begins"
        case .lost: "the job goes on without \(named ?? "a rank")\(why)"
        case .failed: "step \(step) failed" + (named.map { " by \($0)" } ?? "") + why
        }
    }
}
