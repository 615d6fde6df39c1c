import Dispatch
import Foundation
import Synchronization
import Testing
import Topology

@testable import Serving

/// What is written when something went wrong, and when.
@Suite struct FlightWriterTests {
    /// A disk that takes files once it is let, or refuses all.
    private final class Disk: Sendable {
        struct Full: Error {}

        private let files = Mutex<[(file: URL, record: FlightRecord)]>([])
        private let gate = DispatchSemaphore(value: 0)
        let begun = DispatchSemaphore(value: 0)

        var written: [(file: URL, record: FlightRecord)] { files.withLock { $0 } }

        func open() { gate.signal() }

        /// Waits until it is open.
        func write(_ record: FlightRecord, to file: URL) {
            begun.signal()
            gate.wait()
            gate.signal()
            files.withLock { $0.append((file, record)) }
        }
    }

    private static func writer(
        _ store: @escaping @Sendable (FlightRecord, URL) throws -> Void
    ) -> FlightWriter {
        FlightWriter(
            RankRecorder(), in: FlightFolder(URL(filePath: "/none"), rank: Rank(rawValue: 0)),
            on: "node7", log: AccessLogTests.quiet, lossInterval: .seconds(600), endLimit: 60,
            store: store)
    }

    private static func step(_ number: UInt64, _ writer: FlightWriter) {
        writer.recorder.begin(step: number, rows: 1)
        writer.recorder.mark(.step)
    }

    @Test func `a file holds the events before its loss, however slow the disk is`() throws {
        let disk = Disk()
        let writer = Self.writer { disk.write($0, to: $1) }
        writer.write("one")
        disk.begun.wait()
        Self.step(1, writer)
        writer.write("two")
        for number in 2 ... UInt64(RankRecorder.kept) { Self.step(number, writer) }
        disk.open()
        writer.finish()
        try #require(disk.written.count == 2)
        #expect(disk.written.map(\.record.head.reason) == ["one", "two"])
        #expect(disk.written.map { $0.record.events.last?.step } == [nil, 1])
    }

    @Test func `what one loss brings about is one file, and a step between makes another`() throws {
        let disk = Disk()
        disk.open()
        let writer = Self.writer { disk.write($0, to: $1) }
        Self.step(1, writer)
        writer.write("one")
        writer.write("its epoch")
        writer.write("one")
        writer.finish()
        Self.step(2, writer)
        writer.write("two")
        writer.finish()
        let first = try #require(disk.written.first)
        #expect(Set(disk.written.dropLast().map(\.file)) == [first.file])
        #expect(disk.written.dropLast().last?.record.head.reason == "one; its epoch")
        let last = try #require(disk.written.last)
        #expect(last.record.head.reason == "two" && last.file.path > first.file.path)
    }

    @Test func `a stuck disk holds as many records as files stay`() {
        let disk = Disk()
        let writer = Self.writer { disk.write($0, to: $1) }
        writer.write("0")
        disk.begun.wait()
        for number in 1 ... 5 * FlightFolder.kept {
            Self.step(UInt64(number), writer)
            writer.write("\(number)")
        }
        disk.open()
        writer.finish()
        let reasons = ["0"] + (4 * FlightFolder.kept + 1 ... 5 * FlightFolder.kept).map { "\($0)" }
        #expect(disk.written.map(\.record.head.reason) == reasons)
    }

    @Test func `a file is named once it is there`() throws {
        let full = Self.writer { _, _ in throw Disk.Full() }
        full.write("one")
        #expect(full.naming("one") == "one")
        let disk = Disk()
        let writer = Self.writer { disk.write($0, to: $1) }
        #expect(writer.naming("one") == "one")
        writer.write("one")
        #expect(writer.naming("one") == "one")
        disk.open()
        writer.finish()
        let path = try #require(disk.written.first).file.path(percentEncoded: false)
        #expect(writer.naming("one") == "one (last events: \(path) on node7)")
    }
}
