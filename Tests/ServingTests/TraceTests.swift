import Foundation
import NIOHTTP1
import Synchronization
import Testing
import Topology

@testable import Serving

/// Traces of ranks that serve.
@Suite(.serialized) struct TraceTests {
    /// One trace of two ranks that answer meanwhile.
    private static func trace() async throws -> JobTrace {
        let ranks = try LocalRanks(ServingRankConfiguration(directory: Golden.stories), ranks: 2)
        defer { ranks.stop() }
        let traced = Task { try await ranks.router.trace(seconds: 1) }
        let texts = Task {
            for id in UInt64(1) ... 400 where !Task.isCancelled {
                var request = GenerationRequest(
                    id: RequestID(rawValue: id), prompt: [0, 436, 446, 263], maxNewTokens: 32)
                request.ignoresEndTokens = true
                for try await _ in try await ranks.router.submit(request) {}
            }
        }
        let trace = try await traced.value
        texts.cancel()
        _ = try? await texts.value
        return trace
    }

    /// Where an exchange belongs.
    private struct Place: Hashable {
        let kind: RankEvent.Kind
        let step: UInt64
        let exchange: UInt64
    }

    @Test func `two ranks' exchanges are in the same steps, none ends before it began elsewhere`()
        async throws
    {
        let trace = try await Self.trace()
        #expect(trace.ranks.map(\.rank) == [0, 1])
        #expect(trace.ranks.allSatisfy { $0.problem == nil && $0.cut == 0 })
        var found: [[Place: Range<Int64>]] = []
        for rank in trace.ranks {
            var spans: [Place: Range<Int64>] = [:]
            for (event, span) in PlacedEvents(rank, of: trace).events
            where [.dispatch, .combine].contains(event.kind) {
                spans[Place(kind: event.kind, step: event.step, exchange: event.number)] = span
            }
            found.append(spans)
        }
        let both = Set(found[0].keys).intersection(found[1].keys)
        // The window cuts a step at each of its ends.
        #expect(both.count > 100 && both.count > found[0].count * 9 / 10)
        let bounds = try trace.ranks.map { Int64(try #require($0.clock).bound) }
        for place in both {
            let spans = try found.map { try #require($0[place]) }
            // What arrives at one rank was sent by the other before.
            #expect(spans[0].upperBound + bounds[0] + bounds[1] >= spans[1].lowerBound)
            #expect(spans[1].upperBound + bounds[0] + bounds[1] >= spans[0].lowerBound)
        }
    }

    @Test func `the document is JSON of spans in the window, and its summary is their sums`()
        async throws
    {
        let trace = try await Self.trace()
        let document = try #require(
            JSONSerialization.jsonObject(with: trace.json()) as? [String: Any])
        let events = try #require(document["traceEvents"] as? [[String: Any]])
        var sums: [Int: [String: Double]] = [:]
        var known: Set<String> = []
        for event in events {
            for name in (event["args"] as? [String: Any])?.keys.sorted() ?? [] {
                known.insert(name)
            }
            guard event["ph"] as? String == "X" else { continue }
            let (begin, length) = (
                try #require(event["ts"] as? Double), try #require(event["dur"] as? Double)
            )
            #expect(begin >= 0 && length >= 0 && begin + length <= 1_000_001)
            let name = try #require(event["name"] as? String)
            sums[try #require(event["pid"] as? Int), default: [:]][name, default: 0] += length
        }
        // Numbers alone, nothing of a text.
        #expect(
            known.isSubset(of: [
                "awaited", "exchange", "micro_batches", "name", "new_tokens", "number", "rows",
                "running", "sort_index", "step", "tokens", "waiting",
            ]), "\(known)")
        for rank in trace.summary.ranks {
            let lanes = try #require(sums[rank.rank])
            #expect(rank.steps > 10 && rank.computeShare > 0 && rank.expertShare > 0)
            for (name, share) in [
                ("attention and dense compute", rank.computeShare), ("idle", rank.idleShare),
                ("waiting for ranks", rank.waitShare), ("sampling", rank.samplingShare),
            ] { #expect(abs((lanes[name] ?? 0) / 1e6 - share) < 1e-3, "\(name)") }
            // A step is one of these, or an exposed wait of two exchanges at once.
            let parts =
                rank.computeShare + rank.expertShare + rank.exposedShare + rank.waitShare
                + rank.samplingShare + rank.draftShare + rank.idleShare
            #expect(parts > 0.999, "\(parts)")
        }
        #expect(trace.summary.slowest != nil)
    }

    @Test func `the experts' lane holds the time in which experts computed`() async throws {
        var configuration = ServingRankConfiguration(directory: Golden.stories)
        // The MTP block's experts are every rank's own, and a part of the draft.
        configuration.engine.speculates = false
        let ranks = try LocalRanks(configuration, ranks: 2)
        defer { ranks.stop() }
        for engine in ranks.engines { engine.recorder.record(seconds: 60, limit: 100_000) }
        let before = ranks.statistics.map(\.time)
        let request = GenerationRequest(
            id: RequestID(rawValue: 1), prompt: [0, 436, 446, 263], maxNewTokens: 16)
        for try await _ in try await ranks.router.submit(request) {}
        ranks.stop()
        for (engine, before) in zip(ranks.engines, before) {
            let part = engine.recorder.part(from: 0)
            let events = try part.events(after: 0, limit: 100_000)
            let lane = events.filter { $0.kind == .experts }.reduce(0) { $0 + $1.duration }
            let time = engine.statistics.time
            // The network measures the experts alone; the lane adds how their rows are found.
            #expect(Double(lane) * 1e-9 >= (time.expertCompute - before.expertCompute) * 0.99)
            #expect(Double(lane) * 1e-9 <= time.total - before.total)
        }
    }

    /// Ranks of which only some answer.
    private static func router(
        _ recorders: [RankRecorder?], asked: @escaping @Sendable () -> Void = {}
    ) -> LeastLoadedRouter {
        let back = Mutex<LeastLoadedRouter?>(nil)
        let router = LeastLoadedRouter(rankCount: recorders.count) { rank, bytes in
            asked()
            guard let recorder = recorders[rank.rawValue],
                let command = try? JSONDecoder().decode(EngineCommand.self, from: Data(bytes))
            else { return }
            var answer: EngineMessage?
            switch command {
            case .askClock(let question):
                answer = .clock(question, nanoseconds: RankRecorder.now)
            case .record(let seconds, let limit):
                recorder.record(seconds: seconds, limit: limit)
                recorder.mark(.admitted)
                recorder.mark(.epoch, number: 3)
            case .takeRecord(let first): answer = .recorded(recorder.part(from: first))
            default: break
            }
            guard let answer, let sent = try? JSONEncoder().encode(answer) else { return }
            try? back.withLock { $0 }?.receive(Array(sent), from: rank)
        }
        back.withLock { $0 = router }
        return router
    }

    @Test func `a rank that does not answer is named, the others are traced`() async throws {
        let router = Self.router([RankRecorder(), nil, RankRecorder()])
        let trace = try await router.trace(seconds: 1)
        #expect(trace.ranks.map(\.events.count) == [2, 0, 2])
        #expect(trace.ranks.map { $0.problem == nil } == [true, false, true])
        let lines = trace.summary.lines
        #expect(lines.contains { $0.hasPrefix("rank 1: it did not say what its clock shows") })
    }

    @Test func `a second trace is refused while one is taken, and a third is not`() async throws {
        let (begun, continuation) = AsyncStream<Void>.makeStream()
        let recorder = RankRecorder()
        let router = Self.router([recorder]) { continuation.yield() }
        let first = Task { try await router.trace(seconds: RankRecorder.longestSeconds) }
        for await _ in begun { break }
        await #expect(throws: TraceError.busy) { try await router.trace(seconds: 1) }
        first.cancel()
        await #expect(throws: TraceError.ended) { try await first.value }
        #expect(try await router.trace(seconds: 1).ranks.count == 1)
        await #expect(throws: TraceError.noRank) {
            try await Self.router([]).trace(seconds: 1)
        }
        for seconds in [0, -1, 61, Int.max] {
            await #expect(throws: TraceError.self) { try await router.trace(seconds: seconds) }
        }
    }

    @Test func `what nobody asked for is dropped`() throws {
        let collector = TraceCollector()
        for rank in 0 ..< 1000 {
            collector.received(clock: 5, of: rank, question: UInt64(rank))
            collector.received(
                RecordPart(first: 0, count: 0, cut: 0, packed: Data()), of: rank)
        }
        #expect(collector.heldAnswers == 0)
    }

    @Test func `an admin's key gets a trace over HTTP`() async throws {
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write("op: {key: the-secret-of-the-operator, admin: true}", folder)
        try await APITests.withServer(
            ranks: 2, adjust: { api, _ in api.keyFile = path }
        ) { server in
            let answer = try await server.send(
                .POST, "/admin/trace?seconds=1", nil,
                headers: [("authorization", "Bearer the-secret-of-the-operator")])
            #expect(answer.status == 200)
            let document = try #require(
                JSONSerialization.jsonObject(with: Data(answer.text.utf8)) as? [String: Any])
            let other = try #require(document["otherData"] as? [String: Any])
            let summary = try #require(other["summary"] as? [String: Any])
            #expect((summary["ranks"] as? [Any])?.count == 2)
            let refused = try await server.send(
                .POST, "/admin/trace?seconds=61", nil,
                headers: [("authorization", "Bearer the-secret-of-the-operator")])
            #expect(refused.status == 400 && refused.text.contains("1 to 60"))
        }
    }
}
