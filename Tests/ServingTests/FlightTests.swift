import Foundation
import Testing
import Topology

@testable import Serving

/// The files of last events.
@Suite struct FlightTests {
    private static func recorder() -> RankRecorder {
        let recorder = RankRecorder()
        recorder.begin(step: 4, rows: 2)
        recorder.add(
            RankEvent(kind: .dispatch, began: 10, ended: 30, number: 9, rows: 2),
            place: Rank(rawValue: 1))
        recorder.noteLoss(of: Rank(rawValue: 1), reason: "its connection\nclosed")
        return recorder
    }

    @Test func `a record is read as it was written, and files of a rank are pruned`() throws {
        let folder = try AccessLogTests.Folder()
        let flight = URL(filePath: folder.path("flight"))
        let (recorder, files) = (Self.recorder(), FlightFolder(flight, rank: Rank(rawValue: 3)))
        let other = flight.appending(path: "rank-30-20260101T000000.000Z.jsonl")
        try FileManager.default.createDirectory(at: flight, withIntermediateDirectories: true)
        try Data().write(to: other)
        var last = flight
        for second in 0 ..< FlightFolder.kept + 3 {
            last = files.next(at: Date(timeIntervalSince1970: Double(second)))
            try files.write(files.record(recorder, reason: "rank 1 left"), to: last)
        }
        let names = try FileManager.default.contentsOfDirectory(
            atPath: flight.path(percentEncoded: false))
        #expect(names.count == FlightFolder.kept + 1)
        #expect(names.contains(other.lastPathComponent))
        #expect(names.contains("rank-3-19700101T000010.000Z.jsonl"))
        let record = try FlightRecord(contentsOf: last.path(percentEncoded: false))
        var expected = recorder.last.events
        expected[2].note = "its connection?closed"
        #expect(record.events == expected)
        #expect(record.head.rank == 3 && record.head.reason == "rank 1 left")
    }

    @Test func `clients read why a rank was lost, and not where its last events are`() {
        let named = FlightFolder.naming(
            URL(filePath: "/home/ada/rank-1 (old).jsonl"), on: "node7", in: "rank 1 closed")
        #expect(named == "rank 1 closed (last events: /home/ada/rank-1 (old).jsonl on node7)")
        #expect(FlightFolder.withoutFile("lost: \(named), so it ends") == "lost: rank 1 closed")
        #expect(FlightFolder.withoutFile("rank 1 closed") == "rank 1 closed")
    }

    @Test func `a folder that cannot be written is an error and leaves nothing`() throws {
        let folder = try AccessLogTests.Folder()
        let file = URL(filePath: folder.path("flight"))
        try Data().write(to: file)
        let files = FlightFolder(file, rank: Rank(rawValue: 0))
        #expect(throws: (any Error).self) {
            try files.write(
                files.record(Self.recorder(), reason: ""), to: files.next(at: .now))
        }
        #expect(try Data(contentsOf: file).isEmpty)
    }

    private static func record(
        _ rank: Int, boot: String, wall: Int64, clock: Int64, _ times: [UInt64]
    ) -> FlightRecord {
        var head = FlightRecord.Head.now(rank: rank, reason: "a test", older: 0)
        (head.boot, head.wall, head.clock) = (boot, wall, clock)
        return FlightRecord(
            head: head,
            events: times.map {
                RankEvent(kind: .epoch, began: $0, ended: $0, number: $0)
            })
    }

    @Test func `ranks of one machine share its clock, others are placed by the wall`() {
        let second: Int64 = 1_000_000_000
        let lines = FlightRecord.lines(merging: [
            Self.record(0, boot: "a", wall: 100 * second, clock: 50 * second, [49_000_000_000]),
            // Its wall clock was set between: the first of the machine counts.
            Self.record(1, boot: "a", wall: 170 * second, clock: 51 * second, [48_000_000_000]),
            Self.record(2, boot: "b", wall: 100 * second, clock: 7 * second, [5_500_000_000]),
        ])
        #expect(
            lines.suffix(3) == [
                "1970-01-01T00:01:38.000000Z  rank 1  epoch 48000000000 begins",
                "1970-01-01T00:01:38.500000Z  rank 2  epoch 5500000000 begins",
                "1970-01-01T00:01:39.000000Z  rank 0  epoch 49000000000 begins",
            ])
        #expect(lines.contains { $0.hasPrefix("2 machines") })
    }

    @Test(arguments: [
        "", "{}", "[", "{\"flight\":2}",
        "HEAD\n{\"kind\":\"nothing\",\"began\":1,\"step\":1}",
        "HEAD\n{\"kind\":\"step\",\"began\":2,\"ended\":1,\"step\":1}",
        "HEAD\n{\"kind\":\"step\",\"began\":18446744073709551615,\"step\":1}",
        "HEAD\n{\"kind\":\"step\"}", "HEAD\nHEAD",
    ])
    func `a file that no rank wrote is refused with its line`(text: String) throws {
        let head = try FlightRecord(
            head: .now(rank: 0, reason: "\u{1B}[2J", older: 0), events: []
        ).encoded()
        let whole = text.replacing(
            "HEAD", with: String(decoding: head.dropLast(), as: UTF8.self))
        let error = #expect(throws: ServingError.self) {
            try FlightRecord(Data(whole.utf8), path: "x")
        }
        #expect(error?.message.contains("x, line") == true)
    }

    @Test func `more events than a record has are refused, and escapes reach no terminal`() throws {
        var record = Self.record(
            0, boot: "a", wall: 0, clock: 0, Array(repeating: 1, count: RankRecorder.kept))
        record.head.reason = "\u{1B}[2J"
        record.events[0].note = "\u{1B}[2J"
        record.events[0].kind = .failed
        let read = try FlightRecord(record.encoded(), path: "x")
        #expect(!FlightRecord.lines(merging: [read]).joined().contains("\u{1B}"))
        record.events.append(record.events[0])
        #expect(throws: ServingError.self) {
            try FlightRecord(record.encoded(), path: "x")
        }
    }
}
