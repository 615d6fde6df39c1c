import Foundation
import Grammar
import Language
import Synchronization
import Testing
import Topology

@testable import Serving

/// Texts that go on at another rank after theirs was lost.
@Suite struct ResumptionTests {
    /// A text cut after any of its tokens.
    @Test(arguments: [0.0, 0.8])
    func `a text goes on after what was told of it, as if nothing had happened`(
        temperature: Double
    ) async throws {
        try await EngineRun.with(EngineRun.Setting(ranks: 2)) { run in
            for request in EngineTests.requests(4, temperature: temperature) {
                let whole = try await run.outcome(request)
                #expect(whole.tokens.count == 12)
                for count in 0 ... 12 {
                    var rest = request
                    rest.id = RequestID(rawValue: request.id.rawValue * 100 + UInt64(count))
                    rest.resumption = Resumption(
                        hasBegun: true, tokens: Array(whole.tokens[..<count]))
                    let outcome = try await run.outcome(rest)
                    #expect(Array(outcome.tokens) == Array(whole.tokens[count...]), "\(count)")
                    #expect(outcome.finish == whole.finish)
                    #expect(outcome.usage.generatedTokens == 12)
                    #expect(outcome.usage.promptTokens == request.prompt.count)
                }
            }
        }
    }

    @Test func `a constrained text with penalties goes on inside its constraint`() async throws {
        var setting = EngineRun.Setting()
        setting.folder = Golden.stories
        try await EngineRun.with(setting) { run in
            var request = GenerationRequest(
                id: RequestID(rawValue: 1), prompt: [1, 5, 9], maxNewTokens: 48)
            request.constraint = .jsonSchema(
                #"""
                {"type": "object", "required": ["a"], "additionalProperties": false,
                 "properties": {"a": {"type": "string", "maxLength": 12}}}
                """#)
            request.sampling.temperature = 0.9
            request.sampling.frequencyPenalty = 0.5
            let whole = try await run.outcome(request)
            #expect(whole.finish == .stop && whole.tokens.count > 2, "\(whole)")
            for count in 0 ... whole.tokens.count {
                var rest = request
                rest.id = RequestID(rawValue: UInt64(count + 2))
                rest.resumption = Resumption(
                    hasBegun: true, tokens: Array(whole.tokens[..<count]))
                let outcome = try await run.outcome(rest)
                #expect(Array(outcome.tokens) == Array(whole.tokens[count...]), "\(count)")
                #expect(outcome.finish == .stop)
            }
        }
    }

    @Test func `more tokens than a text may have are a failure of that request`() async throws {
        try await EngineRun.with { run in
            var request = GenerationRequest(
                id: RequestID(rawValue: 1), prompt: [4], maxNewTokens: 2)
            request.resumption = Resumption(hasBegun: true, tokens: [1, 2, 3])
            await #expect(throws: ServingError.self) { try await run.outcome(request) }
        }
    }

    /// A router of ranks that are only a list of what was sent to them.
    private final class Wire: Sendable {
        let sent = Mutex<[(rank: Int, command: EngineCommand)]>([])

        func router(ranks: Int) -> LeastLoadedRouter {
            LeastLoadedRouter(rankCount: ranks) { rank, bytes in
                guard
                    let command = try? JSONDecoder().decode(
                        EngineCommand.self, from: Data(bytes))
                else { return }
                self.sent.withLock { $0.append((rank.rawValue, command)) }
            }
        }

        /// The last request that was sent, and where.
        var last: (rank: Int, request: GenerationRequest)? {
            sent.withLock { sent in
                sent.reversed().lazy.compactMap { rank, command in
                    if case .submit(let request) = command { return (rank, request) }
                    return nil
                }.first
            }
        }
    }

    private static func tell(
        _ router: LeastLoadedRouter, _ rank: Rank, _ id: UInt64, _ event: GenerationEvent
    ) throws {
        let report = EngineReport(id: RequestID(rawValue: id), event: event)
        try router.receive(
            Array(JSONEncoder().encode(EngineMessage.reports([report]))), from: rank)
    }

    @Test func `a request moves with what was told, and hears its old rank no more`()
        async throws
    {
        let wire = Wire()
        let router = wire.router(ranks: 3)
        let request = GenerationRequest(
            id: RequestID(rawValue: 7), prompt: [1], maxNewTokens: 9)
        let stream = try await router.submit(request)
        #expect(wire.last?.rank == 0 && wire.last?.request.resumption == nil)
        try Self.tell(router, 0, 7, .began(promptScores: []))
        try Self.tell(router, 0, 7, .tokens([ScoredToken(token: 5), ScoredToken(token: 6)]))
        router.goOn(without: 0, reason: "gone", recovering: [1, 2])
        #expect(router.health == .recovering(lost: [0]))
        #expect(wire.last?.rank == 1)
        #expect(wire.last?.request.resumption == Resumption(hasBegun: true, tokens: [5, 6]))
        try Self.tell(router, 0, 7, .tokens([ScoredToken(token: 99)]))
        router.recovered()
        #expect(router.health == .degraded(lost: [0]))
        try Self.tell(router, 1, 7, .tokens([ScoredToken(token: 8)]))
        router.goOn(without: 1, reason: "gone too", recovering: [2])
        #expect(wire.last?.rank == 2)
        #expect(wire.last?.request.resumption?.tokens == [5, 6, 8])
        try Self.tell(router, 1, 7, .failed(.engine(message: "of the past")))
        try Self.tell(router, 2, 7, .finished(.length, GenerationUsage()))
        var tokens: [Int] = []
        for try await event in stream {
            if case .tokens(let more) = event { tokens += more.map(\.token) }
        }
        #expect(tokens == [5, 6, 8])
    }

    @Test func `a lost rank gets nothing, one that is back does, and none left is an error`()
        async throws
    {
        let wire = Wire()
        let router = wire.router(ranks: 2)
        router.goOn(without: 0, reason: "gone", recovering: [])
        func submit(_ id: UInt64) async throws {
            // A stream that nobody holds withdraws its request.
            _ = try await router.submit(
                GenerationRequest(id: RequestID(rawValue: id), prompt: [1], maxNewTokens: 1))
        }
        try await submit(1)
        #expect(wire.last?.rank == 1)
        router.goOn(with: 0, recovering: [0, 1])
        #expect(router.health == .recovering(lost: []))
        router.recovered()
        #expect(router.health == .serving)
        try await submit(2)
        #expect(wire.last?.rank == 0)
        router.goOn(without: 0, reason: "a", recovering: [])
        router.goOn(without: 1, reason: "b", recovering: [])
        #expect(router.health == .lost)
        await #expect(throws: ServingError.rankLost(message: "rank 0 left: a")) {
            try await submit(3)
        }
    }
}
