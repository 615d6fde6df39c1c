import Foundation
import Synchronization
import Testing
import Topology
import Transport

@testable import Serving

/// Traces of ranks whose clocks differ, that send slowly, hang, or did more than a record holds.
@Suite struct TraceLimitTests {
    /// A clock that is ours.
    private static let clock = ClockFit(
        first: ClockReading(sent: 1000, received: 1000, theirs: 1000),
        last: ClockReading(sent: 2000, received: 2000, theirs: 2000))

    /// A step of these milliseconds after the start of a trace at 1000 ns.
    private static func step(_ span: Range<UInt64>, tokens: UInt64 = 0) -> RankEvent {
        RankEvent(
            kind: .step, began: 1000 + span.lowerBound * 1_000_000,
            ended: 1000 + span.upperBound * 1_000_000, number: tokens, parts: 1)
    }

    private static func summary(_ ranks: [JobTrace.Rank]) throws -> TraceSummary {
        let trace = JobTrace(seconds: 1, start: 1000, date: .now, ranks: ranks)
        _ = try trace.json()
        return trace.summary
    }

    @Test func `one moment of two ranks is one of their trace, however their clocks differ`()
        async throws
    {
        let (collector, recorders) = (TraceCollector(), [RankRecorder(), RankRecorder()])
        // More than two bounds: an answer later than the limit is none.
        let ahead: [UInt64] = [0, 300_000_000]
        let moment = Mutex<UInt64?>(nil)
        let trace = try await collector.trace(seconds: 1, ranks: [0, 1]) { rank, command in
            switch command {
            case .askClock(let question):
                collector.received(
                    clock: RankRecorder.now + ahead[rank], of: rank, question: question)
            case .record(let seconds, let limit):
                recorders[rank].record(seconds: seconds, limit: limit)
                let at = moment.withLock { moment in
                    let at = moment ?? RankRecorder.now + 100_000_000
                    moment = at
                    return at + ahead[rank]
                }
                recorders[rank].add(RankEvent(kind: .epoch, began: at, ended: at))
            case .takeRecord(let first):
                collector.received(recorders[rank].part(from: first), of: rank)
            default: break
            }
        }
        let places = trace.ranks.flatMap {
            PlacedEvents($0, of: trace).events.map(\.span.lowerBound)
        }
        let bound = try trace.ranks.reduce(0) { $0 + (try #require($1.clock).bound) }
        try #require(places.count == 2)
        #expect(abs(places[0] - places[1]) <= Int64(bound) + 1000)
    }

    @Test func `a rank has one deadline for all parts of its record`() async throws {
        let (collector, recorder) = (
            TraceCollector(recordLimit: .milliseconds(500)), RankRecorder()
        )
        let trace = try await collector.trace(seconds: 1, ranks: [0]) { rank, command in
            switch command {
            case .askClock(let question):
                collector.received(clock: RankRecorder.now, of: rank, question: question)
            case .record(let seconds, let limit):
                recorder.record(seconds: seconds, limit: limit)
                for _ in 0 ... RankRecorder.partEvents { recorder.mark(.sampling) }
            case .takeRecord(let first):
                // Each part in time, both together not.
                Task {
                    try await Task.sleep(for: .milliseconds(300))
                    collector.received(recorder.part(from: first), of: rank)
                }
            default: break
            }
        }
        let problem = try #require(trace.ranks[0].problem)
        #expect(problem.hasPrefix("it did not send what it recorded within 0.5"))
    }

    @Test func `a step that has not ended is in the record beside its limit`() throws {
        let recorder = RankRecorder()
        recorder.record(seconds: 60, limit: 1)
        recorder.mark(.epoch)
        recorder.begin(step: 7, rows: 3)
        let part = recorder.part(from: 0)
        let events = try part.events(after: 0, limit: 1 + RankRecorder.openEvents)
        #expect(part.cut == 0 && events.map(\.kind) == [.epoch, .step, .wait])
        #expect(events.dropFirst().allSatisfy { $0.step == 7 && $0.rows == 3 })
        recorder.record(seconds: 60, limit: 10)
        recorder.begin(step: 8, rows: 1)
        recorder.mark(.wait)
        recorder.mark(.step)
        #expect(try recorder.part(from: 0).events(after: 0, limit: 10).count == 2)
    }

    @Test func `a rank in a step that does not end is not idle`() throws {
        let rank = JobTrace.Rank(rank: 0, events: [Self.step(200 ..< 5000)], clock: Self.clock)
        let summary = try Self.summary([rank])
        #expect(summary.ranks[0].steps == 0)
        #expect(abs(summary.ranks[0].idleShare - 0.2) < 1e-6)
    }

    @Test func `a record that is cut says where, and no step of it is in part`() throws {
        let recorder = RankRecorder()
        recorder.record(seconds: 60, limit: 2)
        recorder.begin(step: 1, rows: 1)
        recorder.mark(.sampling)
        recorder.mark(.step)
        let between = RankRecorder.now
        recorder.begin(step: 2, rows: 1)
        let begun = RankRecorder.now
        recorder.mark(.sampling)
        recorder.mark(.step)
        let part = recorder.part(from: 0)
        #expect(part.cut == 2)
        #expect((between ... begun).contains(try #require(part.cutAt)))
    }

    @Test func `shares of a cut record are of what was recorded, and ranks compared over that`()
        throws
    {
        let cut = JobTrace.Rank(
            rank: 0, events: [Self.step(0 ..< 100, tokens: 5), Self.step(100 ..< 190, tokens: 5)],
            cut: 9, cutAt: 200_001_000, clock: Self.clock)
        let whole = JobTrace.Rank(
            rank: 1, events: [Self.step(0 ..< 50), Self.step(200 ..< 900)], clock: Self.clock)
        let summary = try Self.summary([cut, whole])
        #expect(abs(summary.ranks[0].idleShare - 0.05) < 1e-6)
        #expect(abs(summary.ranks[0].tokensPerSecond - 50) < 1e-6)
        #expect(abs(summary.ranks[1].computeShare - 0.75) < 1e-6)
        #expect(summary.slowest == 0)
        #expect(summary.lines.contains { $0.contains("of the first 0.2 s") })
        // A rank may send any time.
        for cutAt in [UInt64(0), .max] {
            var forged = cut
            forged.cutAt = cutAt
            #expect(throws: Never.self) { try Self.summary([forged, whole]) }
        }
    }

    @Test func `of a rank whose parts did not all come, what followed is not known`() throws {
        let part = JobTrace.Rank(
            rank: 0, events: [Self.step(0 ..< 100, tokens: 5), Self.step(100 ..< 200, tokens: 5)],
            clock: Self.clock, problem: "it sent one part")
        // Nothing came of one, and not even the clock of another.
        let none = JobTrace.Rank(rank: 1, clock: Self.clock, problem: "it sent nothing")
        let silent = JobTrace.Rank(rank: 2, problem: "it said nothing")
        let whole = JobTrace.Rank(
            rank: 3, events: [Self.step(0 ..< 50), Self.step(200 ..< 900)], clock: Self.clock)
        let ranks = [part, none, silent, whole]
        let summary = try Self.summary(ranks)
        #expect(summary.ranks[0].steps == 2 && summary.ranks[0].idleShare < 1e-6)
        #expect(abs(summary.ranks[0].tracedSeconds - 0.2) < 1e-6)
        #expect(abs(summary.ranks[0].tokensPerSecond - 50) < 1e-3)
        let line = "rank 0: it sent one part; its times are of the first 0.2 s"
        #expect(summary.lines.contains(line))
        #expect(summary.lines.contains("rank 1: it sent nothing"))
        for rank in summary.ranks[1 ... 2] {
            #expect(rank.tracedSeconds == 0 && rank.idleShare == 0)
        }
        // Over the first 0.2 s, the other one computed less.
        #expect(summary.slowest == 0)
        let trace = JobTrace(seconds: 1, start: 1000, date: .now, ranks: ranks)
        for rank in trace.ranks.dropLast() {
            // Clocks are carried over to whole nanoseconds.
            #expect(PlacedEvents(rank, of: trace).idle.total < 10, "\(rank.rank)")
        }
    }

    @Test func `a step that an error ends was not idle, and what it waited for is shown`() throws {
        let recorder = RankRecorder()
        let lost = TransportError.deadline(
            Rank(rawValue: 2), phase: "dispatch", limit: .seconds(60))
        recorder.record(seconds: 60, limit: 100)
        recorder.begin(step: 7, rows: 3)
        recorder.noteFailure(lost)
        recorder.begin(step: 8, rows: 3)
        recorder.mark(.wait)
        recorder.mark(.dispatchBegan, number: 31)
        let begun = RankRecorder.now
        // Another thread hears of it while the step waits.
        recorder.noteLoss(of: Rank(rawValue: 2), reason: "a test")
        recorder.noteFailure(lost)
        let events = try recorder.part(from: 0).events(after: 0, limit: 100)
        #expect(
            events.map(\.kind) == [
                .step, .wait, .failed, .wait, .lost, .step, .exposed, .failed,
            ])
        #expect(events.map(\.step) == [7, 7, 7, 8, 8, 8, 8, 8])
        #expect(!events.contains { $0.isWholeStep })
        let exposed = events[6]
        #expect(exposed.peer == 2 && exposed.number == 31 && exposed.began <= begun)
        #expect(exposed.ended == events[5].ended && events[5].ended == events[7].ended)
        // The ring holds the failure alone.
        #expect(recorder.last.events.map(\.kind).filter { $0 == .step } == [])
    }

    @Test func `a trace that is ended while ranks send their records is none`() async throws {
        let (asked, continuation) = AsyncStream<Void>.makeStream()
        let running = Task {
            let collector = TraceCollector(recordLimit: .seconds(600))
            return try await collector.trace(seconds: 1, ranks: [0]) { rank, command in
                switch command {
                case .askClock(let question):
                    collector.received(clock: RankRecorder.now, of: rank, question: question)
                case .takeRecord: continuation.yield()
                default: break
                }
            }
        }
        for await _ in asked { break }
        running.cancel()
        await #expect(throws: TraceError.ended) { try await running.value }
    }

    @Test func `a trace ends with the client that asked, and with the server`() async throws {
        let tasks = TraceTasks()
        @Sendable func trace() async throws -> Data {
            try await Task.sleep(for: .seconds(600))
            return Data()
        }
        await #expect(throws: CancellationError.self) {
            try await tasks.run(trace) { cancel in cancel() }
        }
        let (begun, continuation) = AsyncStream<Void>.makeStream()
        let running = Task { try await tasks.run(trace) { _ in continuation.yield() } }
        for await _ in begun { break }
        tasks.end()
        await #expect(throws: CancellationError.self) { try await running.value }
        await #expect(throws: TraceError.ended) { try await tasks.run(trace) { _ in } }
    }
}
