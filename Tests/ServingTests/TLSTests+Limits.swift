import Foundation
import Testing

@testable import Serving

/// What a client of HTTPS can make the server hold or say.
extension TLSTests {
    /// Bytes of memory that this process has now.
    private static func memory() throws -> Int {
        let words = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            .split(separator: " ")
        let pages = try #require(Int(words[1]))
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    @Test func `what follows the client's end is dropped, and holds no memory`() async throws {
        try await Self.withServer { server, _, settings in
            // What a first answer brings into memory is there before.
            let first = try await Self.curl([
                "--cacert", settings.certificate, "--json", #"{"prompt":"Once"}"#,
                "https://localhost:\(server.port)/v1/completions",
            ])
            #expect(first.status == 0, "\(first.output)")
            let before = try Self.memory()
            let talk = Task {
                try await Self.python(
                    server.port, settings,
                    """
                    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
                    session = context.wrap_bio(arriving, leaving, server_hostname="localhost")
                    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
                    def step(action):
                        while True:
                            try: return action()
                            except ssl.SSLWantReadError:
                                plain.sendall(leaving.read())
                                arriving.write(plain.recv(65536))
                    step(session.do_handshake)
                    body = b'{"prompt":"Once","max_tokens":1500,"ignore_eos":true}'
                    lines[0] = b"POST /v1/completions HTTP/1.1"
                    lines[3:] = [b"content-type: application/json"]
                    lines.append(b"content-length: %d" % len(body))
                    session.write(b"\\r\\n".join(lines + [b"", b""]) + body)
                    try: session.unwrap()
                    except ssl.SSLWantReadError: pass
                    plain.sendall(leaving.read())
                    try:
                        for _ in range(64): plain.sendall(bytes(1 << 20))
                    except ConnectionError: pass
                    print("sent")
                    """)
            }
            let sampling = Task {
                var most = 0
                while !Task.isCancelled {
                    most = max(most, try Self.memory())
                    do { try await Task.sleep(for: .milliseconds(5)) } catch { break }
                }
                return most
            }
            let output = try await talk.value
            sampling.cancel()
            let most = try await sampling.value
            #expect(output == "sent\n")
            // Beside what the answer itself takes, half of what was sent.
            #expect(most - before < 32 << 20, "\(before) to \(most)")
        }
    }

    @Test func `a client that asks for new keys without end is ended`() async throws {
        try await Self.withServer { server, _, settings in
            // `openssl s_client` writes a KeyUpdate that asks for one back for each line `K`.
            let output = try await Self.python(
                server.port, settings,
                """
                import subprocess, time
                words = ["openssl", "s_client", "-tls1_3", "-CAfile", file, "-connect"]
                client = subprocess.Popen(
                    words + ["127.0.0.1:%d" % port], stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                end = time.monotonic() + 30
                # A line is a command where it is read alone: a pause lets it be.
                while client.poll() is None and time.monotonic() < end:
                    try:
                        client.stdin.write(b"K\\n")
                        client.stdin.flush()
                    except ConnectionError: break
                    time.sleep(0.001)
                print("ended", time.monotonic() < end)
                client.kill()
                with connect() as sealed: print(talk(sealed)[:15].decode())
                """)
            #expect(output == "ended True\nHTTP/1.1 200 OK\n", "\(output)")
        }
    }
}
