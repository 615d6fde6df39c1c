import Encoding
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing

@testable import Serving

/// What clients and proxies expect of an HTTP server, byte by byte.
@Suite(.serialized) struct WireTests {
    /// Sends bytes and returns what comes until the server closes, or `until` is there.
    static func exchange(
        _ port: Int, _ bytes: [UInt8], until: String? = nil
    ) async throws -> String {
        let text = Mutex("")
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Collector { piece in
                            text.withLock { $0 += piece }
                            if let until, text.withLock({ $0.contains(until) }) {
                                channel.close(promise: nil)
                            }
                        })
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
        try await channel.closeFuture.get()
        return lowerHeaders(text.withLock { $0 })
    }

    /// Names of headers mean the same in any case: here they are lower.
    private static func lowerHeaders(_ answer: String) -> String {
        guard let end = answer.firstRange(of: "\r\n\r\n") else { return answer }
        let lines = answer[..<end.lowerBound].components(separatedBy: "\r\n").map { line in
            guard let colon = line.firstIndex(of: ":") else { return line }
            return line[..<colon].lowercased() + line[colon...]
        }
        return lines.joined(separator: "\r\n") + answer[end.lowerBound...]
    }

    static func exchange(
        _ port: Int, _ text: String, until: String? = nil
    ) async throws -> String {
        try await exchange(port, Array(text.utf8), until: until)
    }

    /// Hands over what arrives.
    final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let take: (String) -> Void
        init(_ take: @escaping (String) -> Void) { self.take = take }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            take(String(buffer: unwrapInboundIn(data)))
        }
    }

    @Test func `HEAD is answered as GET, without a body`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            for path in ["/health", "/v1/models", "/metrics", "/openapi.json", "/version"] {
                let answer = try await Self.exchange(
                    server.port, "HEAD \(path) HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 200"), "\(path) \(answer)")
                #expect(answer.hasSuffix("\r\n\r\n") && answer.contains("content-length: "))
            }
            let wrong = try await Self.exchange(
                server.port,
                "HEAD /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            #expect(wrong.hasPrefix("HTTP/1.1 405") && wrong.contains("allow: OPTIONS, POST"))
        }
    }

    @Test func `a client that waits for 100 is told to go on, and one too large is not`()
        async throws
    {
        try await APITests.withServer(ranks: 1, adjust: { api, _ in api.limits.bodyBytes = 1000 }) {
            let body = #"{"prompt":"Once","max_tokens":1}"#
            let head =
                "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                + "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: "
            let first = try await Self.exchange(
                $0.port, head + "\(body.utf8.count)\r\n\r\n", until: "\r\n\r\n")
            #expect(first == "HTTP/1.1 100 Continue\r\n\r\n")
            let whole = try await Self.exchange($0.port, head + "\(body.utf8.count)\r\n\r\n" + body)
            #expect(whole.contains("HTTP/1.1 200"), "\(whole)")
            let large = try await Self.exchange(
                $0.port, head + "2000\r\n\r\n", until: "api.limits.bodyBytes")
            #expect(large.hasPrefix("HTTP/1.1 413"))
        }
    }

    @Test func `a stream of HTTP 1.0 has no chunks and ends with its connection`() async throws {
        try await APITests.withServer(ranks: 1) {
            let body = #"{"prompt":"Once","max_tokens":3,"stream":true,"temperature":0}"#
            for keep in ["", "connection: keep-alive\r\n"] {
                let answer = try await Self.exchange(
                    $0.port,
                    "POST /v1/completions HTTP/1.0\r\n\(keep)content-type: application/json\r\n"
                        + "content-length: \(body.utf8.count)\r\n\r\n\(body)",
                    until: "data: [DONE]\n\n")
                #expect(answer.hasPrefix("HTTP/1.0 200"), "\(answer)")
                #expect(!answer.lowercased().contains("transfer-encoding"))
                #expect(answer.contains("\r\n\r\ndata: {") && answer.hasSuffix("data: [DONE]\n\n"))
                #expect(answer.contains("connection: close"))
            }
        }
    }

    @Test(arguments: [
        ("GET", "/v1/models/", 200), ("GET", "//v1//models", 200), ("GET", "/health/", 200),
        ("GET", "/v1/models/stories-fp8/", 200), ("POST", "/v1/completions/", 200),
        ("POST", "/v1//completions", 200), ("GET", "/v1/model", 404), ("GET", "//page.css/", 200),
    ])
    func `doubled and trailing slashes do not count`(
        method: String, path: String, status: Int
    ) async throws {
        try await APITests.withServer(ranks: 1) { server in
            let body = method == "POST" ? #"{"prompt":"a","max_tokens":1}"# : nil
            let answer = try await server.send(HTTPMethod(rawValue: method), path, body)
            #expect(answer.status == status)
        }
    }

    @Test func `pages of named origins may use the API, and nobody else's`() async throws {
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.cors = ["https://chat.example"]
                api.keys = ["secret"]
            }
        ) { server in
            func preflight(_ origin: String) async throws -> String {
                try await Self.exchange(
                    server.port,
                    "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: x\r\norigin: \(origin)\r\n"
                        + "access-control-request-method: POST\r\n"
                        + "access-control-request-headers: authorization,content-type\r\n"
                        + "connection: close\r\n\r\n")
            }
            let allowed = try await preflight("https://chat.example")
            #expect(allowed.hasPrefix("HTTP/1.1 204"))
            for header in [
                "access-control-allow-origin: https://chat.example",
                "access-control-allow-methods: OPTIONS, POST",
                "access-control-allow-headers: authorization,content-type", "vary: Origin",
            ] { #expect(allowed.lowercased().contains(header.lowercased()), "\(allowed)") }
            let refused = try await preflight("https://evil.example")
            #expect(!refused.contains("allow-origin"))
            // An answer says so too, an error as well.
            let answer = try await Self.exchange(
                server.port,
                "GET /v1/models HTTP/1.1\r\nhost: x\r\norigin: https://chat.example\r\n"
                    + "connection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 401"))
            #expect(answer.lowercased().contains("access-control-allow-origin: https://chat.ex"))
        }
    }

    @Test func `without the setting no origin is allowed, and OPTIONS names the methods`()
        async throws
    {
        try await APITests.withServer(ranks: 1) { server in
            let answer = try await Self.exchange(
                server.port,
                "OPTIONS /v1/models HTTP/1.1\r\nhost: x\r\norigin: https://a.example\r\n"
                    + "access-control-request-method: GET\r\nconnection: close\r\n\r\n")
            #expect(
                answer.hasPrefix("HTTP/1.1 204") && answer.contains("allow: GET, HEAD, OPTIONS"))
            #expect(!answer.lowercased().contains("access-control"))
        }
    }

    @Test func `compressed bodies are read, within the limits of what they expand to`()
        async throws
    {
        try await APITests.withServer(ranks: 1, adjust: { api, _ in api.limits.bodyBytes = 1000 }) {
            server in
            func post(_ encoding: String, _ body: [UInt8]) async throws -> String {
                let head =
                    "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                    + "content-type: application/json\r\ncontent-encoding: \(encoding)\r\n"
                    + "content-length: \(body.count)\r\n\r\n"
                return try await Self.exchange(server.port, Array(head.utf8) + body)
            }
            let good = try #require(Data(base64Encoded: Compressed.gzip))
            let deflated = try #require(Data(base64Encoded: Compressed.deflate))
            let bomb = try #require(Data(base64Encoded: Compressed.bomb))
            #expect(try await post("gzip", Array(good)).hasPrefix("HTTP/1.1 200"))
            #expect(try await post("x-gzip", Array(good)).hasPrefix("HTTP/1.1 200"))
            #expect(try await post("deflate", Array(deflated)).hasPrefix("HTTP/1.1 200"))
            let large = try await post("gzip", Array(bomb))
            #expect(large.hasPrefix("HTTP/1.1 413") && large.contains("expands to more than 1000"))
            let cut = try await post("gzip", Array(good.dropLast(12)))
            #expect(cut.hasPrefix("HTTP/1.1 400") && cut.contains("is not gzip"))
            let plain = try await post("gzip", Array("{}".utf8))
            #expect(plain.hasPrefix("HTTP/1.1 400"))
            let other = try await post("br", Array(good))
            #expect(
                other.hasPrefix("HTTP/1.1 415") && other.contains("accept-encoding: gzip, defl"))
            let identity = try await post(
                "identity", Array(#"{"prompt":"a","max_tokens":1}"#.utf8))
            #expect(identity.hasPrefix("HTTP/1.1 200"))
        }
    }
}

/// Bodies by Python's `gzip.compress(body, 9, mtime=0)` and `zlib.compress(body)`.
private enum Compressed {
    /// `{"prompt":"Once","max_tokens":1}`.
    static let gzip =
        "H4sIAAAAAAACA6tWKijKzy0oUbJS8s9LTlXSUcpNrIgvyc9OzStWsjKsBQAVxhfUIAAAAA=="
    static let deflate = "eJyrViooys8tKFGyUvLPS05V0lHKTayIL8nPTs0rVrIyrAUAteEK9g=="
    /// A prompt of 200,000 times `a`.
    static let bomb =
        "H4sIAAAAAAACA+3BMQ0AIBAEMC8nAzcIIHwIG8E7GtjbntSao3ZaOgAAAAAAAAAAAAAAAAAAAAAAAAAA"
        + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADwLfcBmPJT"
        + "t00NAwA="
}
