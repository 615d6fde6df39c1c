import Foundation
import Synchronization
import TestSupport
import Testing
import Topology

@testable import Grammar
@testable import Serving

/// What becomes of requests whose router is gone, and of those that come before the next is ready.
@Suite struct RouterLossTests {
    @Test func `an engine that drops everything says nothing, holds nothing, and takes the next`() {
        let core = BatchingEngine(
            IndifferentNetwork(), configuration: EngineConfiguration(),
            vocabulary: { ConstraintExamples.vocabulary })
        func request(_ id: UInt64) -> GenerationRequest {
            var request = GenerationRequest(
                id: RequestID(rawValue: id), prompt: [1, 2, 3], maxNewTokens: 4)
            request.ignoresEndTokens = true
            return request
        }
        core.submit(request(1))
        core.submit(request(2))
        core.expect(RequestID(rawValue: 3))
        if case .step(let plan) = core.prepare() { _ = try? core.step(plan, []) }
        core.dropAll()
        #expect(core.takeReports().isEmpty && core.active.isEmpty)
        #expect(core.prepare() == .idle)
        // What was being compiled comes too late.
        core.submit(request(3), .failure(.forbidden(token: 1)))
        #expect(core.takeReports().isEmpty)
        // The same number may come again.
        core.submit(request(1))
        var tokens = 0
        while case .step(let plan) = core.prepare() {
            _ = try? core.step(plan, [])
            for report in core.takeReports() {
                if case .tokens(let more) = report.event { tokens += more.count }
            }
        }
        #expect(tokens == 4)
    }

    /// Ranks drop what they have in steps of their own.
    @Test func `a rank that drops its requests changes no text of another`() async throws {
        // Texts so long that neither ends while the test acts.
        let tokens = 1000
        let setting = EngineRun.Setting(ranks: 2, blocks: 256, folder: Golden.stories)
        try await EngineRun.with(setting) { run in
            let requests = EngineTests.requests(2, tokens: tokens)
            let expected = try await run.generate(requests)
            func generated() -> [UInt64] { run.ranks.statistics.map(\.generatedTokens) }
            let before = generated()
            // The first of equals goes to rank 0, the second to rank 1.
            let dropped = Task { try await run.outcome(requests[0]).tokens }
            try await Wait.until("rank 0 generates") { generated()[0] > before[0] }
            async let kept = run.outcome(requests[1]).tokens
            try await Wait.until("rank 1 generates") { generated()[1] > before[1] }
            run.ranks.engines[0].dropAll()
            #expect(generated()[1] < before[1] + UInt64(tokens), "the other text had ended")
            #expect(try await kept == expected[1])
            try await Wait.until("rank 0 has dropped it") { run.ranks.statistics[0].running == 0 }
            #expect(generated()[0] < before[0] + UInt64(tokens), "it came to its end")
            dropped.cancel()
            _ = try? await dropped.value
            #expect(try await run.generate(requests) == expected)
        }
    }

    @Test func `a router that takes ranks over refuses for a while, and then serves`()
        async throws
    {
        let router = LeastLoadedRouter(rankCount: 2) { _, _ in }
        let request = GenerationRequest(
            id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: 1)
        router.takesOver()
        #expect(router.health == .recovering(lost: []))
        let error = await #expect(throws: ServingError.self) { try await router.submit(request) }
        let answer = APIError(try #require(error))
        #expect(answer.status == 503 && answer.retryAfterSeconds != nil)
        router.goOn(without: 1, reason: "gone", recovering: [])
        router.tookOver(recovering: [0])
        #expect(router.health == .recovering(lost: [1]))
        _ = try await router.submit(request)
        router.recovered()
        #expect(router.health == .degraded(lost: [1]))
    }

    @Test func `a rank that leaves gets nothing new, and its texts go on at others`() async throws {
        let sent = Mutex<[Int: Int]>([:])
        let router = LeastLoadedRouter(rankCount: 2) { rank, bytes in
            let command = try? JSONDecoder().decode(EngineCommand.self, from: Data(bytes))
            if case .submit = command { sent.withLock { $0[rank.rawValue, default: 0] += 1 } }
        }
        func submit(_ id: UInt64) async throws -> AsyncThrowingStream<GenerationEvent, any Error> {
            try await router.submit(
                GenerationRequest(id: RequestID(rawValue: id), prompt: [1], maxNewTokens: 1))
        }
        let first = try await submit(1)
        router.leaves(0, staysAfterAll: false)
        let others = [try await submit(2), try await submit(3)]
        #expect(sent.withLock { $0 } == [0: 1, 1: 2])
        #expect(router.health == .serving)
        router.goOn(withoutDrained: 0, recovering: [1])
        #expect(sent.withLock { $0 } == [0: 1, 1: 3])
        #expect(router.health == .recovering(lost: [], drained: [0]))
        // What the rank says on its way out ends nothing.
        let end = EngineReport(id: RequestID(rawValue: 1), event: .failed(.draining))
        try router.receive(Array(JSONEncoder().encode(EngineMessage.reports([end]))), from: 0)
        router.recovered()
        #expect(router.health == .degraded(lost: [], drained: [0]))
        router.goOn(without: 1, reason: "gone", recovering: [])
        #expect(router.health == .lost)
        router.goOn(with: 0, recovering: [])
        #expect(router.health == .degraded(lost: [1]))
        // A rank that stays after all takes requests again: of equals the first is chosen.
        router.goOn(with: 1, recovering: [])
        router.leaves(0, staysAfterAll: false)
        router.leaves(0, staysAfterAll: true)
        let later = [try await submit(4), try await submit(5)]
        #expect(sent.withLock { $0 } == [0: 2, 1: 4])
        _ = (first, others, later)
    }

    @Test func `texts of a lost decode rank go to the one that was about to leave`() async throws {
        let sent = Mutex<[Int: Int]>([:])
        let roles = try HandoverTests.groups(prefill: [1], decode: [2])
        let router = LeastLoadedRouter(rankCount: 3, groups: roles) { rank, bytes in
            let command = try? JSONDecoder().decode(EngineCommand.self, from: Data(bytes))
            if case .submit = command { sent.withLock { $0[rank.rawValue, default: 0] += 1 } }
        }
        router.leaves(1, staysAfterAll: false)
        let text = try await router.submit(
            GenerationRequest(id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: 1))
        #expect(sent.withLock { $0 } == [2: 1])
        // As the coordinator says it: the rank stays first.
        router.leaves(1, staysAfterAll: true)
        router.goOn(without: 2, reason: "gone", recovering: [1])
        #expect(sent.withLock { $0 } == [1: 1, 2: 1])
        _ = text
    }

    @Test func `ranks of one process, and ranks that are none, do not leave`() async throws {
        let router = LeastLoadedRouter(rankCount: 2) { _, _ in }
        let stays = await #expect(throws: DrainRefusal.self) { try await router.drain(rank: 1) }
        #expect(APIError(try #require(stays)).status == 409)
        let none = await #expect(throws: DrainRefusal.self) { try await router.drain(rank: 2) }
        #expect(none?.message == "rank 2 is out of range: the job has 2 ranks, from 0")
    }
}
