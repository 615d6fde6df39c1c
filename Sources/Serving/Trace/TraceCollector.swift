import Foundation
import Synchronization
import Topology

/// Takes a trace of every rank that a router reaches: reads their clocks, lets all record, and
/// fetches what they recorded.
///
/// A rank that does not answer within its deadline is named, and the others' trace is whole.
final class TraceCollector: Sendable {
    private struct Answer {
        let received: UInt64
        let nanoseconds: UInt64
    }

    private struct State {
        var isRunning = false
        /// By rank and question; questions that nobody asked are not kept.
        var asked: [Int: UInt64] = [:]
        var clocks: [Int: Answer] = [:]
        var wanted: Set<Int> = []
        var parts: [Int: RecordPart] = [:]
    }

    private let state = Mutex(State())

    /// Events of all ranks together: some 60 MB of JSON.
    static let mostEvents = 400_000
    /// Round trips to each rank, before the trace and after it.
    static let clockRounds = 8
    /// For a rank to say what its clock shows.
    static let clockLimit = Duration.milliseconds(250)
    /// For a rank to send its record, of nine parts at most.
    private let recordLimit: Duration
    /// Between two polls for an answer.
    private static let pollInterval = Duration.milliseconds(1)

    init(recordLimit: Duration = .seconds(15)) { self.recordLimit = recordLimit }

    /// Events that each of so many ranks may record.
    static func limit(ranks: Int) -> Int {
        min(RankRecorder.mostEvents, mostEvents / max(1, ranks))
    }

    // MARK: What ranks send

    /// Takes in what a rank's clock showed, if that was asked.
    func received(clock nanoseconds: UInt64, of rank: Int, question: UInt64) {
        state.withLock { state in
            guard state.asked[rank] == question else { return }
            state.asked[rank] = nil
            state.clocks[rank] = Answer(received: RankRecorder.now, nanoseconds: nanoseconds)
        }
    }

    /// Takes in a part of what a rank recorded, if that was asked.
    func received(_ part: RecordPart, of rank: Int) {
        state.withLock { state in
            if state.wanted.remove(rank) != nil { state.parts[rank] = part }
        }
    }

    /// Answers that nobody has taken yet.
    var heldAnswers: Int { state.withLock { $0.clocks.count + $0.parts.count } }

    // MARK: The trace

    /// Takes a trace.
    ///
    /// - Parameters:
    ///   - ranks: As the job numbers them, in order.
    ///   - send: Carries a command to a rank.
    func trace(
        seconds: Int, ranks: [Int], send: @escaping @Sendable (Int, EngineCommand) -> Void
    ) async throws(TraceError) -> JobTrace {
        guard (1 ... RankRecorder.longestSeconds).contains(seconds) else {
            throw .malformed(
                "a trace of \(seconds) s: the limits are 1 and \(RankRecorder.longestSeconds)")
        }
        guard !ranks.isEmpty else { throw .noRank }
        let isFree = state.withLock { state in
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard isFree else { throw .busy }
        defer { state.withLock { $0 = State() } }
        let before = try await readClocks(ranks, send)
        let limit = Self.limit(ranks: ranks.count)
        let (start, date) = (RankRecorder.now, Date())
        let heard = ranks.filter { before[$0] != nil }
        for rank in heard { send(rank, .record(seconds: seconds, limit: limit)) }
        try await Self.sleep(.seconds(seconds))
        let after = try await readClocks(heard, send)
        var clocks: [Int: ClockFit] = [:]
        for rank in heard {
            guard let first = before[rank], let last = after[rank] else { continue }
            clocks[rank] = ClockFit(first: first, last: last)
        }
        let placed = heard.filter { clocks[$0] != nil }
        var gathered = await records(of: placed, limit: limit, send)
        // Whoever ended the trace keeps ranks from being heard: that is no problem of theirs.
        guard !Task.isCancelled else { throw .ended }
        for index in gathered.indices { gathered[index].clock = clocks[gathered[index].rank] }
        gathered += ranks.filter { clocks[$0] == nil }.map { rank in
            JobTrace.Rank(
                rank: rank,
                problem: "it did not say what its clock shows within \(Self.clockLimit)")
        }
        gathered.sort { $0.rank < $1.rank }
        return JobTrace(seconds: seconds, start: start, date: date, ranks: gathered)
    }

    /// What these ranks recorded, each within its own deadline.
    private func records(
        of ranks: [Int], limit: Int, _ send: @escaping @Sendable (Int, EngineCommand) -> Void
    ) async -> [JobTrace.Rank] {
        await withTaskGroup(of: JobTrace.Rank.self) { group in
            for rank in ranks {
                group.addTask { await self.record(of: rank, limit: limit, send) }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }

    /// - Throws: `TraceError.ended` where this task is cancelled.
    private static func sleep(_ duration: Duration) async throws(TraceError) {
        do { try await Task.sleep(for: duration) } catch { throw .ended }
    }

    /// The best reading of each rank's clock; none of a rank that did not answer.
    private func readClocks(
        _ ranks: [Int], _ send: (Int, EngineCommand) -> Void
    ) async throws(TraceError) -> [Int: ClockReading] {
        var readings: [Int: [ClockReading]] = [:]
        var asked = ranks
        for _ in 0 ..< Self.clockRounds {
            // One after the other, so that no answer waits for the answers of others.
            for rank in asked {
                guard let reading = try await readClock(of: rank, send) else { continue }
                readings[rank, default: []].append(reading)
            }
            // Nobody waits again for a rank that is silent.
            asked = asked.filter { readings[$0] != nil }
        }
        return readings.compactMapValues { ClockReading.best(of: $0) }
    }

    private func readClock(
        of rank: Int, _ send: (Int, EngineCommand) -> Void
    ) async throws(TraceError) -> ClockReading? {
        // A number that no rank knows before it is asked, and that no earlier trace had.
        let question = UInt64.random(in: 0 ... .max)
        let sent = state.withLock { state in
            state.clocks[rank] = nil
            state.asked[rank] = question
            return RankRecorder.now
        }
        send(rank, .askClock(question))
        let limit = ContinuousClock.now + Self.clockLimit
        repeat {
            if let answer = state.withLock({ $0.clocks.removeValue(forKey: rank) }) {
                return ClockReading(
                    sent: sent, received: answer.received, theirs: answer.nanoseconds)
            }
            try await Self.sleep(Self.pollInterval)
        } while .now < limit
        state.withLock { $0.asked[rank] = nil }
        return nil
    }

    /// What a rank recorded, part by part.
    private func record(
        of rank: Int, limit: Int, _ send: (Int, EngineCommand) -> Void
    ) async -> JobTrace.Rank {
        var record = JobTrace.Rank(rank: rank)
        let deadline = ContinuousClock.now + recordLimit
        do throws(TraceError) {
            while true {
                let first = record.events.count
                guard let part = try await part(of: rank, from: first, until: deadline, send) else {
                    record.problem = "it did not send what it recorded within \(recordLimit)"
                    return record
                }
                record.events += try part.events(
                    after: first, limit: limit + RankRecorder.openEvents)
                (record.cut, record.cutAt) = (part.cut, part.cutAt)
                if record.events.count == part.count { return record }
            }
        } catch {
            record.problem = "what it sent is no record: \(error)"
            return record
        }
    }

    private func part(
        of rank: Int, from first: Int, until deadline: ContinuousClock.Instant,
        _ send: (Int, EngineCommand) -> Void
    ) async throws(TraceError) -> RecordPart? {
        state.withLock { _ = $0.wanted.insert(rank) }
        send(rank, .takeRecord(from: first))
        repeat {
            if let part = state.withLock({ $0.parts.removeValue(forKey: rank) }) { return part }
            try await Self.sleep(Self.pollInterval)
        } while .now < deadline
        return nil
    }
}
