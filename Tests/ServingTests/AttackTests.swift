import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import Serving

/// What a client may try against HTTP itself.
@Suite(.serialized) struct AttackTests {
    /// Requests whose end two readers could see in different places: one of them would take what
    /// follows for a request of its own.
    static let ambiguous = [
        "content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "content-length: +5\r\n\r\nhello", "content-length: 5, 5\r\n\r\nhello",
        "content-length: 0x5\r\n\r\nhello", "content-length: -1\r\n\r\n",
        "content-length: 99999999999999999999\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5;\rx\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
        "x: y\r\n z\r\n\r\n", "x: a\u{0}b\r\n\r\n", "x: a\rb: c\r\n\r\n",
    ]

    @Test(arguments: ambiguous)
    func `a request that ends in two places is refused with what follows it`(head: String)
        async throws
    {
        try await APITests.withServer(ranks: 1) { server in
            let answer = try await WireTests.exchange(
                server.port,
                "POST /tokenize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\(head)"
                    + "GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            #expect(!answer.contains(#""version":"#), "\(answer)")
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(answer)")
            #expect(try await server.send(.GET, "/health").status == 200)
        }
    }

    @Test(arguments: [
        ("GET /version HTTP/1.1\r\nx-", "a"),
        ("POST /tokenize HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n", " "),
    ])
    func `a client that sends a byte now and then is cut off`(beginning: String, byte: String)
        async throws
    {
        try await APITests.withServer(
            ranks: 1, adjust: { api, _ in api.limits.idleSeconds = 1 }
        ) { server in
            try await Self.expectEnd(of: server, beginning: beginning, byte: byte)
        }
    }

    /// Sends a beginning and then a byte now and then, until the server closes the connection.
    private static func expectEnd(
        of server: TestServer, beginning: String, byte: String
    ) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: server.port).get()
        try await channel.writeAndFlush(ByteBuffer(string: beginning))
        let sender = Task {
            while channel.isActive {
                try await Task.sleep(for: .milliseconds(200))
                try await channel.writeAndFlush(ByteBuffer(string: byte))
            }
        }
        let limit = Task {
            try await Task.sleep(for: .seconds(30))
            Issue.record("the connection is open after 30 s")
            try await channel.close()
        }
        try await channel.closeFuture.get()
        limit.cancel()
        _ = await sender.result
    }

    @Test func `an upload that grows byte by byte is cut off`() async throws {
        let folder = try AccessLogTests.Folder()
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.limits.idleSeconds = 1
                api.batchFolder = folder.path("batches")
            }
        ) { server in
            let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n"
            let form =
                "content-type: multipart/form-data; boundary=XX\r\n\r\n--XX\r\n"
                + "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
            try await Self.expectEnd(of: server, beginning: head + form, byte: "x")
        }
    }

    @Test func `connections without a word leave room for those who speak`() async throws {
        try await APITests.withServer(
            ranks: 1, adjust: { api, _ in api.limits.connections = 20 }
        ) { server in
            var silent: [any Channel] = []
            for _ in 0 ..< 60 {
                silent.append(
                    try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                        .connect(host: "127.0.0.1", port: server.port).get())
            }
            for _ in 0 ..< 10 {
                #expect(try await server.send(.GET, "/version").status == 200)
            }
            for channel in silent { try? await channel.close() }
        }
    }
}
