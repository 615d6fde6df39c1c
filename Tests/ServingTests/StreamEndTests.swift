import Encoding
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing
import Topology

@testable import Serving

/// Streams that wait, and streams that are ended: each says why.
@Suite(.serialized) struct StreamEndTests {
    static let long = #""prompt":"Once","max_tokens":1500,"ignore_eos":true"#

    static func post(_ body: String, _ path: String = "/v1/completions") -> String {
        "POST \(path) HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            + "content-length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    /// What a client reads until the connection ends, and the status of a whole answer, when the
    /// server ends in the middle.
    static func cut(_ end: (TestServer) async throws -> Void) async throws -> [String] {
        let server = try await TestServer(ranks: 1)
        let chat =
            #"{"messages":[{"role":"user","content":"a"}],"max_tokens":1500,"ignore_eos":true"#
        let requests = [
            Self.post("{\(Self.long),\"stream\":true}"), Self.post("{\(Self.long)}"),
            Self.post("\(chat),\"stream\":true}", "/v1/chat/completions"),
            Self.post("{\(Self.long),\"stream\":true,\"n\":2}"),
        ]
        let answers = requests.map { request in
            Task { try await WireTests.exchange(server.port, request) }
        }
        try await server.waitUntilBegun(5)
        await server.drain()
        try await end(server)
        var texts: [String] = []
        for answer in answers { texts.append(try await answer.value) }
        try await server.stop()
        return texts
    }

    static func expectReason(_ texts: [String], _ reason: String) {
        for (index, text) in texts.enumerated() {
            #expect(text.contains(#""error":{"message":"\#(reason)"#), "\(text.suffix(400))")
            #expect(!text.contains("[DONE]"))
            // The second one wants a whole answer; a stream may not have begun.
            if text.hasPrefix("HTTP/1.1 503") {
                #expect(text.contains("retry-after: "))
            } else {
                #expect(index != 1 && text.hasPrefix("HTTP/1.1 200"), "\(text.prefix(400))")
                #expect(text.hasSuffix("\r\n0\r\n\r\n"), "the body has no last chunk")
            }
        }
    }

    @Test func `what outlasts the drain limit ends with an error, and its body ends`() async throws
    {
        let texts = try await Self.cut { $0.end("the drain limit is over") }
        Self.expectReason(texts, "the drain limit is over")
    }

    @Test func `a lost rank ends streams with its name`() async throws {
        let texts = try await Self.cut {
            $0.ranks.router.lost(Rank(rawValue: 0), reason: "its connection closed")
        }
        Self.expectReason(texts, "rank 0 left: its connection closed")
    }

    @Test func `a job that ends gives its streams the reason`() async throws {
        let texts = try await Self.cut { $0.ranks.router.close(reason: "the job was stopped") }
        Self.expectReason(texts, "the job was stopped")
    }

    @Test func `a stream that waits for its place gets headers and comments`() async throws {
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, rank in
                api.limits.commentSeconds = 1
                rank.engine.runningLimit = 1
            }
        ) { server in
            let first = Task {
                try await WireTests.exchange(
                    server.port, Self.post("{\(Self.long),\"stream\":true}"), until: "\0")
            }
            defer { first.cancel() }
            try await server.waitUntilBegun(1)
            let body = #"{"prompt":"Once","max_tokens":3,"stream":true,"ignore_eos":true}"#
            // Whichever is done first, the second one's events are whole.
            let second = try await WireTests.exchange(
                server.port, Self.post(body), until: "data: [DONE]\n\n")
            #expect(second.hasPrefix("HTTP/1.1 200") && second.contains("data: {"))
        }
    }

    @Test func `silence is reported again and again until something happens`() async throws {
        let router = SilentRouter()
        let streams = try await RequestStreams(
            [GenerationRequest(id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: 1)],
            router: router, permits: [PermitPool(limit: 1).acquire(1)], silence: .milliseconds(20))
        var waits = 0
        for try await event in streams.events {
            if case .waiting = event { waits += 1 } else { break }
            if waits == 3 { router.continuation.yield(.began(promptScores: [])) }
        }
        #expect(waits >= 3)
        streams.end(CancellationError())
    }

    @Test func `streams that nobody holds withdraw their request`() async throws {
        let router = SilentRouter()
        let table = StreamTable()
        var streams: RequestStreams? = try await RequestStreams(
            [GenerationRequest(id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: 1)],
            router: router, permits: [PermitPool(limit: 1).acquire(1)], silence: .seconds(60))
        table.add(try #require(streams))
        streams = nil
        var iterator = router.endings.makeAsyncIterator()
        #expect(await iterator.next() != nil)
    }

    /// Takes a request and says nothing.
    private final class SilentRouter: RequestRouter {
        let stream: AsyncThrowingStream<GenerationEvent, any Error>
        let continuation: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
        let endings: AsyncStream<Void>

        init() {
            (stream, continuation) = AsyncThrowingStream<GenerationEvent, any Error>.makeStream()
            let (endings, ended) = AsyncStream<Void>.makeStream()
            self.endings = endings
            continuation.onTermination = { _ in ended.yield() }
        }

        func submit(
            _ request: GenerationRequest
        ) async throws -> AsyncThrowingStream<GenerationEvent, any Error> { stream }

        func cancel(_ id: RequestID) async {}

        func statistics() async -> [EngineStatistics] { [] }

        func trace(seconds: Int) async throws(TraceError) -> JobTrace { throw .noRank }

        var health: ServiceHealth { .serving }
    }

    /// A client whose request has begun: the server has read its head, and wants the body.
    private static func begun(_ server: TestServer, _ header: String) async throws -> any Channel {
        let heard = Mutex("")
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        WireTests.Collector { piece in heard.withLock { $0 += piece } })
                }
            }
            .connect(host: "127.0.0.1", port: server.port).get()
        try await channel.writeAndFlush(
            ByteBuffer(
                string: "POST /v1/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
                    + "content-type: application/json\r\n\(header)\r\n\r\n"))
        try await Wait.until("the server wants the body") {
            heard.withLock { $0.hasPrefix("HTTP/1.1 100 ") }
        }
        return channel
    }

    @Test func `a client that leaves within its body is no failure of the server`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            for (header, body) in [
                ("content-length: 100", "{\"pro"), ("transfer-encoding: chunked", "5\r\n{\"p"),
            ] {
                let channel = try await Self.begun(server, header)
                try await channel.writeAndFlush(ByteBuffer(string: body))
                try await channel.close()
            }
            let wanted = #"endpoint="/v1/completions",status="499"} 2.0"#
            try await Wait.until("two clients have left") {
                try await server.send(.GET, "/metrics").text.contains(wanted)
            }
            let metrics = try await server.send(.GET, "/metrics").text
            #expect(!metrics.contains(#"status="500""#))
        }
    }

    @Test func `bodies that are withheld stay within their budget, and leave it`() async throws {
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.limits.bodyBytes = 10_000
                api.limits.bodyBytesPerAddress = 50_000
                api.limits.bodyBytesOfAll = 60_000
            }
        ) { server in
            var channels: [any Channel] = []
            let head =
                "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                + "content-length: 9000\r\n\r\n"
            for _ in 0 ..< 12 {
                let channel = try await ClientBootstrap(
                    group: MultiThreadedEventLoopGroup.singleton
                ).connect(host: "127.0.0.1", port: server.port).get()
                try await channel.writeAndFlush(
                    ByteBuffer(string: head + String(repeating: " ", count: 8990)))
                channels.append(channel)
            }
            func metric(_ name: String) async throws -> Double {
                let text = try await server.send(.GET, "/metrics").text
                let line = text.split(separator: "\n").first { $0.hasPrefix("apus:\(name) ") }
                return Double(line?.split(separator: " ").last ?? "0") ?? 0
            }
            let refused = #"http_requests_total{endpoint="/v1/completions",status="429"}"#
            try await Wait.until("seven are refused") { try await metric(refused) >= 7 }
            let held = try await metric("http_body_bytes")
            #expect(held <= 50_000 && held.remainder(dividingBy: 8990) == 0, "\(held)")
            // Small requests of the same address go on: there is room for them.
            let status = try await server.post(
                "/v1/completions", #"{"prompt":"a","max_tokens":1}"#
            ).status
            #expect(status == 200)
            for channel in channels { try await channel.close() }
            try await Wait.until("no body is held") { try await metric("http_body_bytes") == 0 }
        }
    }

    @Test func `idle connections make room, and those with requests do not`() async throws {
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.limits.connections = 8
                api.limits.connectionsPerAddress = 8
            }
        ) { server in
            var channels: [any Channel] = []
            for _ in 0 ..< 40 {
                channels.append(
                    try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                        .connect(host: "127.0.0.1", port: server.port).get())
            }
            #expect(try await server.send(.GET, "/health").status == 200)
            for channel in channels { try? await channel.close() }
            // Six requests, of which none is whole, hold every place of this address.
            var stuck: [any Channel] = []
            for _ in 0 ..< 6 { stuck.append(try await Self.begun(server, "content-length: 10")) }
            // The server may close the connection before the request is written.
            let answer =
                (try? await WireTests.exchange(
                    server.port, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n")) ?? ""
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 503"), "\(answer)")
            let areOpen = stuck.allSatisfy { $0.isActive }
            #expect(areOpen, "one of them was closed for another")
            for channel in stuck { try? await channel.close() }
            try await Wait.until("there is a place") {
                let answer = try? await server.send(.GET, "/health")
                return answer?.status == 200
            }
        }
    }

    @Test func `every request is a line of the access log`() async throws {
        let folder = try AccessLogTests.Folder()
        let file = folder.path("access.log")
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.accessLog.file = file
                api.keys = ["top-secret"]
            }
        ) { server in
            let key = [("authorization", "Bearer top-secret")]
            let body = #"{"prompt":"Once upon","max_tokens":3,"ignore_eos":true"#
            _ = try await server.send(.POST, "/v1/completions", body + "}", headers: key)
            _ = try await server.send(
                .POST, "/v1/completions", body + ",\"stream\":true}", headers: key)
            _ = try await server.send(.GET, "/v1/models?key=top-secret")
            _ = try await server.send(.GET, "/nowhere", headers: key)
            _ = try await WireTests.exchange(server.port, "NONSENSE\r\n\r\n")
        }
        let text = try folder.text("access.log")
        let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(lines.count == 5, "\(text)")
        #expect(lines.allSatisfy { $0.count == 10 && $0[1] == "127.0.0.1" })
        #expect(lines.map { $0[4] } == ["200", "200", "401", "404", "400"])
        #expect(lines[0][8] == "3" && lines[1][8] == "3" && lines[2][8] == "-")
        #expect(lines[2][3] == "/v1/models")
        #expect(!text.contains("top-secret") && !text.contains("Once"))
    }
}
