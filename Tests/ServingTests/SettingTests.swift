import Collectives
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing
import Topology
import Transport

@testable import Benchmarks
@testable import Serving

@Suite struct SettingTests {
    @Test func `defaults lie within their limits`() throws {
        try EngineConfiguration().validate()
        try OpenAIServerConfiguration().validate()
    }

    static func engine(
        _ change: (inout EngineConfiguration) -> Void
    ) -> EngineConfiguration {
        var configuration = EngineConfiguration()
        change(&configuration)
        return configuration
    }

    @Test(arguments: [
        engine { $0.stepTokens = 0 }, engine { $0.stepTokens = .max },
        engine { $0.runningLimit = 0 }, engine { $0.runningLimit = -1 },
        engine { $0.waitingLimit = -1 }, engine { $0.promptTokensBesideStreams = 0 },
        engine { $0.sharedRows = 33 },
        engine { $0.speculationStreams = -1 }, engine { $0.overlapThreshold = .nan },
        engine { $0.constraintSteps = 0 },
    ])
    func `an engine that could not work is refused before it starts`(
        configuration: EngineConfiguration
    ) {
        #expect(throws: ServingError.self) { try configuration.validate() }
    }

    static func server(_ change: (inout ServiceLimits) -> Void) -> OpenAIServerConfiguration {
        var configuration = OpenAIServerConfiguration()
        change(&configuration.limits)
        return configuration
    }

    @Test(arguments: [
        server { $0.choices = 0 }, server { $0.stopStrings = -1 }, server { $0.bodyBytes = -1 },
        server { $0.prompts = 0 }, server { $0.messages = 0 }, server { $0.promptTokens = 0 },
        server { $0.stopLength = 0 }, server { $0.connections = 0 }, server { $0.idleSeconds = -1 },
        server { $0.generations = 0 }, server { $0.writeSeconds = .max },
        server { $0.connectionsPerAddress = 0 }, server { $0.commentSeconds = 0 },
        server { $0.bodyBytesOfAll = $0.bodyBytes - 1 }, server { $0.bodyBytesPerAddress = 1 },
        server { $0.bodyBytesPerAddress = $0.bodyBytesOfAll + 1 },
    ])
    func `limits that would refuse every request are refused before it`(
        configuration: OpenAIServerConfiguration
    ) {
        #expect(throws: ServingError.self) { try configuration.validate() }
    }

    @Test(arguments: ["https://a.example", "http://localhost:3000", "*", "null://x"])
    func `an origin is a scheme and a host`(origin: String) throws {
        var configuration = OpenAIServerConfiguration()
        configuration.cors = [origin]
        try configuration.validate()
    }

    @Test(arguments: ["", "a.example", "https://", "https://a.example/", "://x", "https://a b"])
    func `what no browser sends as an origin is refused`(origin: String) {
        var configuration = OpenAIServerConfiguration()
        configuration.cors = [origin]
        let error = #expect(throws: ServingError.self) { try configuration.validate() }
        #expect(error?.message.contains("cors names \(origin)") == true)
    }

    @Test func `a request beyond the permits is told when to come again`() throws {
        let pool = PermitPool(limit: 4)
        let held = try pool.acquire(3)
        let error = #expect(throws: APIError.self) { try pool.acquire(2) }
        #expect(error?.status == 429 && error?.retryAfterSeconds == 1)
        withExtendedLifetime(held) {}
    }

    @Test func `a report too large to travel fails its request alone`() throws {
        let fabric = try makeLoopbackFabrics(rankCount: 1)[0]
        defer { fabric.close() }
        let engine = Engine(
            barrier: try StepBarrier(fabric: fabric, limit: .seconds(5)),
            map: try .contiguous(expertCount: 1, rankCount: 1),
            configuration: EngineConfiguration())
        let sent = Mutex<[EngineReport]>([])
        let endpoint = EngineEndpoint(engine, capacity: EngineCapacity(runningLimit: 1)) { bytes in
            guard bytes.count <= 4096 else {
                throw ServingError.engine(message: "\(bytes.count) bytes")
            }
            let message = try JSONDecoder().decode(EngineMessage.self, from: Data(bytes))
            if case .reports(let reports) = message { sent.withLock { $0 += reports } }
        }
        let scores = (0 ..< 1000).map { ScoredToken(token: $0, logprob: -1) }
        let (small, large, last) = (
            EngineReport(
                id: RequestID(rawValue: 1), event: .tokens([ScoredToken(token: 5)])),
            EngineReport(id: RequestID(rawValue: 2), event: .began(promptScores: scores)),
            EngineReport(id: RequestID(rawValue: 3), event: .finished(.stop, GenerationUsage()))
        )
        endpoint.report([small, large, last])
        let reports = sent.withLock { $0 }
        #expect(reports.map(\.id.rawValue) == [1, 2, 3])
        #expect(reports[0] == small && reports[2] == last)
        guard case .failed = reports[1].event else {
            Issue.record("\(reports[1].event)")
            return
        }
    }

    @Test func `a server that says nothing is given up`() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let server = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        await #expect(throws: ServingError.self) {
            try await HTTPConnection.send(
                .GET, "/", body: nil, to: .init(host: "127.0.0.1", port: port), on: group,
                silence: .milliseconds(200)
            ) { _ in }
        }
        try await server.close().get()
    }
}
