import Encoding
import Foundation
import Grammar
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization
import Tensors

@testable import Benchmarks
@testable import Serving

/// The small real model behind the HTTP API, on a port of its own.
final class TestServer: Sendable {
    let ranks: LocalRanks
    let grammars: CompiledGrammars
    let port: Int
    private let server: OpenAIServer
    private let serving: Task<Void, any Error>
    private let group: ServiceGroup

    init(
        ranks: Int = 2, text: ModelText? = nil, report: Data? = nil,
        adjust: (inout OpenAIServerConfiguration, inout ServingRankConfiguration) -> Void = {
            _, _ in
        }
    ) async throws {
        var rank = ServingRankConfiguration(directory: Golden.stories)
        rank.compute = .bfloat16
        var configuration = OpenAIServerConfiguration()
        configuration.port = 0
        adjust(&configuration, &rank)
        let started = try LocalRanks(rank, ranks: ranks)
        self.ranks = started
        grammars = rank.grammars
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let server = try OpenAIServer(
            configuration, text: try text ?? ModelText(directory: Golden.stories),
            router: started.router,
            grammars: rank.grammars, doctorReport: { report },
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { continuation.yield($0) }
        self.server = server
        let group = ServiceGroup(
            services: [server], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        self.group = group
        serving = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        var found = 0
        for await port in ports {
            found = port
            break
        }
        port = found
    }

    /// Shuts down as SIGTERM does, then ends the engines.
    func stop() async throws {
        await group.triggerGracefulShutdown()
        try await serving.value
        ranks.stop()
    }

    /// Ends what is under way, as a drain limit does.
    func end(_ reason: String) { server.end(reason: reason) }

    /// What operators ask of the process that runs the server.
    var endRequests: AsyncStream<Int> { server.endRequests }

    /// Takes nothing new, and returns after the last text.
    func refuse() async { await server.drain() }

    func drain() async { await group.triggerGracefulShutdown() }

    /// Tokens that all ranks have generated: unlike the requests that run, they only grow.
    var generatedTokens: UInt64 {
        ranks.statistics.reduce(0) { $0 + $1.generatedTokens }
    }

    /// Requests in the batches of all ranks.
    var running: Int { ranks.statistics.reduce(0) { $0 + $1.running } }

    /// Returns once so many texts have begun since the server started, ended ones among them.
    func waitUntilBegun(_ count: Int) async throws {
        let name = "apus:time_to_first_token_seconds_count "
        try await Wait.until("\(count) texts have begun") {
            let lines = try await send(.GET, "/metrics").text
                .split(separator: "\n")
            let begun = lines.first { $0.hasPrefix(name) }?.dropFirst(name.count)
            return begun.flatMap { Int($0) } ?? 0 >= count
        }
    }

    /// A whole answer: status and body.
    func send(
        _ method: HTTPMethod, _ path: String, _ body: String? = nil,
        headers: [(String, String)] = []
    ) async throws -> (status: Int, text: String) {
        var status = 0
        var bytes: [UInt8] = []
        try await HTTPConnection.send(
            method, path, body: body, headers: headers,
            to: .init(host: "127.0.0.1", port: port), on: MultiThreadedEventLoopGroup.singleton
        ) { part in
            switch part {
            case .status(let code): status = code
            case .body(let part): bytes += part.readableBytesView
            }
        }
        return (status, String(decoding: bytes, as: UTF8.self))
    }

    func post(_ path: String, _ body: String) async throws -> (status: Int, json: JSONValue) {
        let answer = try await send(.POST, path, body)
        return (answer.status, try JSONValue.parse(answer.text))
    }

    /// The chunks of a stream, without `[DONE]`; whether that came.
    func stream(_ path: String, _ body: String) async throws -> (chunks: [JSONValue], isDone: Bool)
    {
        let answer = try await send(.POST, path, body)
        var reader = EventStreamReader()
        let events = reader.append(ByteBuffer(string: answer.text))
        return (
            try events.filter { $0 != "[DONE]" }.map { try JSONValue.parse($0) },
            events.last == "[DONE]"
        )
    }
}
