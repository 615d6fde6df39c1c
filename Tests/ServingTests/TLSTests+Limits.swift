import Foundation
import NIOCore
import NIOPosix
import Testing
import Topology

@testable import Serving

/// What a client of HTTPS can make the server hold or say.
extension TLSTests {
    /// A port behind which there is TLS, and nobody who closes a connection.
    ///
    /// - Parameter answerBytes: Of the answer to the first that a client says.
    private static func withPort(
        _ settings: TLSSettings, answerBytes: Int = 0, _ body: (Int) async throws -> Void
    ) async throws {
        let tls = try TLSContext(settings, now: .now)
        // One thread, so that what the system's allocator keeps for each is there once.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try await ServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        TLSHandler(TLSSession(tls), handshakeSeconds: 30))
                    try channel.pipeline.syncOperations.addHandler(Answerer(answerBytes))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        try await body(try #require(server.localAddress?.port))
        try await server.close()
        try await group.shutdownGracefully()
    }

    /// Answers the first that a client says with zeros.
    private final class Answerer: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private var bytes: Int

        init(_ bytes: Int) { self.bytes = bytes }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let answer = ByteBuffer(repeating: 0, count: bytes)
            bytes = 0
            guard answer.readableBytes > 0 else { return }
            context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        }
    }

    /// The most memory that this process has while the body runs.
    private static func most(
        _ body: @escaping @Sendable () async throws -> String
    ) async throws -> (output: String, memory: Int) {
        let sampling = Task {
            var most = 0
            while !Task.isCancelled {
                most = max(most, SystemFiles().residentBytes(of: "self"))
                do { try await Task.sleep(for: .milliseconds(2)) } catch { break }
            }
            return most
        }
        let output = try await body()
        sampling.cancel()
        return (output, await sampling.value)
    }

    @Test func `a connection keeps no memory of its largest answer`() async throws {
        let folder = try AccessLogTests.Folder()
        let settings = try Self.certificate(folder)
        try await Self.withPort(settings, answerBytes: 4 << 20) { port in
            let before = SystemFiles().residentBytes(of: "self")
            let (output, most) = try await Self.most {
                try await Self.python(
                    port, settings,
                    """
                    open, total = [], 0
                    for _ in range(40):
                        sealed = connect()
                        open.append(sealed)
                        sealed.sendall(b"x")
                        left = 4 << 20
                        while left > 0: left -= len(sealed.recv(1 << 20)) or sys.exit("closed")
                    print(len(open))
                    """)
            }
            #expect(output == "40\n")
            // The answers have 160 MiB together.
            #expect(most - before < 64 << 20, "\(before) to \(most)")
        }
    }

    @Test func `what follows the client's end is dropped, and holds no memory`() async throws {
        let folder = try AccessLogTests.Folder()
        let settings = try Self.certificate(folder)
        try await Self.withPort(settings) { port in
            let before = SystemFiles().residentBytes(of: "self")
            let (output, most) = try await Self.most {
                try await Self.python(
                    port, settings,
                    """
                    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
                    session = context.wrap_bio(arriving, leaving, server_hostname="localhost")
                    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
                    while True:
                        try: session.do_handshake()
                        except ssl.SSLWantReadError:
                            plain.sendall(leaving.read())
                            arriving.write(plain.recv(65536) or sys.exit("closed"))
                            continue
                        break
                    try: session.unwrap()
                    except ssl.SSLWantReadError: pass
                    plain.sendall(leaving.read())
                    for _ in range(128): plain.sendall(bytes(1 << 20))
                    print("sent")
                    """)
            }
            #expect(output == "sent\n")
            // Half of what was sent; what another test frees or takes meanwhile is less.
            #expect(most - before < 64 << 20, "\(before) to \(most)")
        }
    }

    @Test func `a client that asks for new keys without end is ended`() async throws {
        try await Self.withServer { server, _, settings in
            // `openssl s_client` writes a KeyUpdate that asks for one back for each line `K`.
            // Each answer is a record of 27 bytes: a header of 5, the message of 5 and its type,
            // and 16 of a tag. A client that dies by itself has had fewer.
            let least = TLSHandler.controlBytes / 27
            let output = try await Self.python(
                server.port, settings,
                """
                import subprocess, time
                words = ["openssl", "s_client", "-tls1_3", "-CAfile", file, "-connect"]
                client = subprocess.Popen(
                    words + ["127.0.0.1:%d" % port], stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                end = time.monotonic() + 30
                sent = 0
                # A line is a command where it is read alone: a pause lets it be.
                while client.poll() is None and time.monotonic() < end:
                    try:
                        client.stdin.write(b"K\\n")
                        client.stdin.flush()
                        sent += 1
                    except ConnectionError: break
                    time.sleep(0.001)
                print("ended", time.monotonic() < end, sent >= \(least))
                client.kill()
                with connect() as sealed: print(talk(sealed)[:15].decode())
                """)
            #expect(output == "ended True True\nHTTP/1.1 200 OK\n", "\(output)")
        }
    }
}
