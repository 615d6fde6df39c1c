import Encoding
import Foundation
import Language
import NIOCore
import NIOHTTP1
import Testing

@testable import Serving

/// HTTPS, judged by clients of other houses: curl and Python's `ssl`, with certificates of openssl.
@Suite(.serialized) struct TLSTests {
    /// A certificate of this test for `localhost`, and its key, in a folder.
    static func certificate(
        _ folder: AccessLogTests.Folder, _ name: String = "one", days: Int = 30
    ) throws -> TLSSettings {
        var settings = TLSSettings()
        settings.certificate = folder.path("\(name).pem")
        settings.key = folder.path("\(name).key")
        let made = try run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "\(days)", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", settings.key, "-out",
                settings.certificate,
            ])
        try #require(made.status == 0, "\(made.output)")
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o600], ofItemAtPath: settings.key)
        return settings
    }

    private static func run(
        _ program: String, _ arguments: [String]
    ) throws -> (status: Int32, output: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    static func withServer(
        adjust: (inout ServiceLimits) -> Void = { _ in },
        _ body: (TestServer, AccessLogTests.Folder, TLSSettings) async throws -> Void
    ) async throws {
        let folder = try AccessLogTests.Folder()
        let settings = try certificate(folder)
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.tls = settings
                adjust(&api.limits)
            }
        ) { try await body($0, folder, settings) }
    }

    /// Runs Python with `context`, `port`, `request` and `talk` at hand; what it prints.
    static func python(
        _ port: Int, _ settings: TLSSettings, _ text: String
    ) async throws -> String {
        let beginning = """
            import socket, ssl, sys, json, hashlib
            port, file = \(port), "\(settings.certificate)"
            context = ssl.create_default_context(cafile=file)
            lines = [b"GET /version HTTP/1.1", b"host: localhost", b"connection: close", b"", b""]
            request = b"\\r\\n".join(lines)
            def connect(context=context):
                plain = socket.create_connection(("127.0.0.1", port), timeout=30)
                return context.wrap_socket(
                    plain, server_hostname="localhost", suppress_ragged_eofs=False)
            def talk(sealed, request=request):
                sealed.sendall(request)
                answer = b""
                while piece := sealed.recv(65536): answer += piece
                return answer

            """
        let program = beginning + text
        // A thread that waits for a program is none of those that serve.
        let (status, output) = try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try run("python3", ["-c", program]) })
            }
        }
        #expect(status == 0, "\(output)")
        return output
    }

    static func curl(_ arguments: [String]) async throws -> (status: Int32, output: String) {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        try run("curl", ["--disable", "-sS", "--max-time", "30"] + arguments)
                    })
            }
        }
    }

    @Test func `Python reads an answer that ends in order, in both versions of TLS`()
        async throws
    {
        try await Self.withServer { server, _, settings in
            let output = try await Self.python(
                server.port, settings,
                """
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    context.minimum_version = context.maximum_version = version
                    context.set_alpn_protocols(["h2", "http/1.1"])
                    with connect() as sealed:
                        answer = talk(sealed)
                        protocol = sealed.selected_alpn_protocol()
                        print(sealed.version(), protocol, answer[:15].decode())
                        print(sealed.cipher()[0])
                """)
            #expect(output.contains("TLSv1.2 http/1.1 HTTP/1.1 200 OK"), "\(output)")
            #expect(output.contains("TLSv1.3 http/1.1 HTTP/1.1 200 OK"), "\(output)")
            #expect(output.contains("ECDHE-ECDSA-"), "\(output)")
        }
    }

    @Test func `what is older, speaks another protocol or no TLS is refused`() async throws {
        try await Self.withServer { server, _, settings in
            let output = try await Self.python(
                server.port, settings,
                """
                def refused(name, **changes):
                    context = ssl.create_default_context(cafile=file)
                    context.set_ciphers("ALL:@SECLEVEL=0")
                    for key, value in changes.items():
                        if key == "alpn": context.set_alpn_protocols(value)
                        elif key == "ciphers": context.set_ciphers(value)
                        else: setattr(context, key, value)
                    try:
                        with connect(context) as sealed: print(name, "accepted", sealed.version())
                    except (ssl.SSLError, ConnectionError) as error: print(name, "refused")
                import warnings
                warnings.simplefilter("ignore")
                old = ssl.TLSVersion
                refused("old", minimum_version=old.TLSv1, maximum_version=old.TLSv1_1)
                refused("h2", alpn=["h2"])
                refused("cbc", maximum_version=ssl.TLSVersion.TLSv1_2, ciphers="AES128-SHA")
                for name, first in (("plain", request), ("noise", bytes(range(200, 256)) * 90)):
                    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
                        plain.sendall(first)
                        answer = b""
                        try:
                            while piece := plain.recv(65536): answer += piece
                        except ConnectionError: pass
                        print(name, answer[:24])
                with connect() as sealed: print(talk(sealed)[:15].decode())
                """)
            for name in ["old", "h2", "cbc"] {
                #expect(output.contains("\(name) refused"), "\(output)")
            }
            #expect(output.contains("plain b'HTTP/1.1 400 Bad Request"), "\(output)")
            #expect(!output.contains("noise b'HTTP"), "\(output)")
            #expect(output.contains("\nHTTP/1.1 200 OK"), "\(output)")
        }
    }

    @Test func `a handshake byte by byte is done, and one that stands still is ended`()
        async throws
    {
        try await Self.withServer(adjust: { $0.idleSeconds = 2 }) { server, _, settings in
            let output = try await Self.python(
                server.port, settings,
                """
                arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
                session = context.wrap_bio(arriving, leaving, server_hostname="localhost")
                plain = socket.create_connection(("127.0.0.1", port), timeout=30)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                def send():
                    for byte in leaving.read(): plain.sendall(bytes([byte]))
                def receive(): arriving.write(plain.recv(65536) or sys.exit("closed"))
                while True:
                    try: session.do_handshake()
                    except ssl.SSLWantReadError:
                        send()
                        receive()
                        continue
                    break
                send()
                session.write(request)
                send()
                answer = b""
                while b"}" not in answer:
                    try: answer += session.read(65536) or sys.exit("ended")
                    except ssl.SSLWantReadError: receive()
                print(answer[:15].decode())
                with socket.create_connection(("127.0.0.1", port), timeout=60) as still:
                    still.sendall(b"\\x16\\x03\\x01\\x02\\x00\\x01")
                    try: print("ended", still.recv(100) == b"")
                    except ConnectionError: print("ended", True)
                """)
            #expect(output.contains("HTTP/1.1 200 OK"), "\(output)")
            #expect(output.contains("ended True"), "\(output)")
        }
    }

    @Test func `large bodies and streams go both ways whole`() async throws {
        try await Self.withServer { server, folder, settings in
            let prompt = String(repeating: "once upon a time ", count: 20_000)
            let output = try await Self.python(
                server.port, settings,
                """
                body = json.dumps({"prompt": "once upon a time " * 20000}).encode()
                lines[0] = b"POST /tokenize HTTP/1.1"
                lines[3:] = [b"content-type: application/json", b"content-length: %d" % len(body)]
                head = b"\\r\\n".join(lines + [b"", b""])
                with connect() as sealed: answer = talk(sealed, head + body)
                text = answer[answer.index(b"\\r\\n\\r\\n") + 4:]
                value = json.loads(text)
                print("tokens", value["count"], len(value["tokens"]))
                """)
            let count = try ModelText(directory: Golden.stories).tokenizer.encode(
                prompt, addSpecialTokens: true
            ).count
            #expect(output == "tokens \(count) \(count)\n")
            let body = #"{"prompt":"Once","max_tokens":300,"ignore_eos":true,"stream":true}"#
            let streamed = try await Self.curl([
                "--cacert", settings.certificate, "--json", body,
                "https://localhost:\(server.port)/v1/completions",
            ])
            #expect(streamed.status == 0, "\(streamed.output)")
            #expect(streamed.output.hasSuffix("data: [DONE]\n\n"))
            _ = folder
        }
    }

    @Test func `curl speaks with the server, and not with one that has another certificate`()
        async throws
    {
        try await Self.withServer { server, folder, settings in
            let url = "https://localhost:\(server.port)/version"
            for version in ["1.2", "1.3"] {
                let answer = try await Self.curl(
                    ["--cacert", settings.certificate, "--tls-max", version, url])
                #expect(answer.status == 0 && answer.output.contains("version"))
            }
            let other = try Self.certificate(folder, "other")
            // 60: the peer's certificate cannot be authenticated.
            #expect(try await Self.curl(["--cacert", other.certificate, url]).status == 60)
            let plain = try await Self.curl(
                ["-w", "%{http_code}", "http://localhost:\(server.port)/version"])
            #expect(plain.output.hasSuffix("400") && plain.output.contains("https://"))
        }
    }

    @Test func `a new certificate is given to new connections, and a wrong one is not`()
        async throws
    {
        let folder = try AccessLogTests.Folder()
        let (settings, other) = (
            try Self.certificate(folder), try Self.certificate(folder, "other")
        )
        let certificate = try ServerCertificate(settings, log: AccessLogTests.quiet)
        let first = certificate.current
        let files = FileManager.default
        func replace(_ path: String, by new: String) throws {
            try files.removeItem(atPath: path)
            try files.copyItem(atPath: new, toPath: path)
        }
        // The certificate comes before its key: until then nothing fits, and nothing changes.
        try replace(settings.certificate, by: other.certificate)
        certificate.readAgain()
        #expect(certificate.current === first)
        try replace(settings.key, by: other.key)
        certificate.readAgain()
        #expect(certificate.current !== first)
    }

    @Test func `a running server takes a new certificate by itself`() async throws {
        try await Self.withServer { server, folder, settings in
            let other = try Self.certificate(folder, "other")
            let files = FileManager.default
            for (old, new) in [
                (settings.certificate, other.certificate), (settings.key, other.key),
            ] {
                try files.removeItem(atPath: old)
                try files.copyItem(atPath: new, toPath: old)
            }
            let url = "https://localhost:\(server.port)/version"
            try await Wait.until("the new certificate is shown") {
                try await Self.curl(["--cacert", other.certificate, url]).status == 0
            }
        }
    }

    @Test func `files that do not belong together, or not to now, are refused by name`() throws {
        let folder = try AccessLogTests.Folder()
        let (settings, other) = (
            try Self.certificate(folder), try Self.certificate(folder, "other")
        )
        func refusal(_ settings: TLSSettings, _ now: Date = .now) -> String {
            let error = #expect(throws: ServingError.self) { try TLSContext(settings, now: now) }
            return error?.message ?? ""
        }
        var mixed = settings
        mixed.key = other.key
        #expect(refusal(mixed).contains("key values mismatch"), "\(refusal(mixed))")
        #expect(refusal(mixed).contains(other.key))
        #expect(refusal(settings, .now + 40 * 86400).contains("holds from"))
        #expect(refusal(settings, .now - 86400).contains("and now it is"))
        _ = try TLSContext(settings, now: .now + 20 * 86400)
        var missing = settings
        missing.certificate = folder.path("none")
        #expect(refusal(missing).contains("tls.certificate \(folder.path("none")): there is no"))
        try Data("no certificate".utf8).write(to: URL(filePath: folder.path("text")))
        missing.certificate = folder.path("text")
        #expect(refusal(missing).contains("cannot be used"))
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o644], ofItemAtPath: settings.key)
        #expect(refusal(settings).contains("chmod 600 \(settings.key)"))
        var half = TLSSettings()
        half.key = settings.key
        let error = #expect(throws: ServingError.self) { try half.validate() }
        #expect(error?.message == "tls.key is set, and tls.certificate is not")
    }

    @Test func `a certificate that ends soon is told of once a day`() throws {
        let folder = try AccessLogTests.Folder()
        let certificate = try ServerCertificate(
            try Self.certificate(folder), log: AccessLogTests.quiet)
        let (now, day) = (Date.now, 86400.0)
        #expect(abs(certificate.secondsLeft(at: now) - 30 * day) < 60)
        #expect(certificate.remind(now: now + 15.9 * day) == nil)
        #expect(certificate.remind(now: now + 16.5 * day)?.contains("ends in 13 days") == true)
        #expect(certificate.remind(now: now + 17.4 * day) == nil)
        #expect(certificate.remind(now: now + 17.6 * day)?.contains("ends in 12 days") == true)
        #expect(certificate.remind(now: now + 31 * day)?.contains("has ended") == true)
    }

    @Test func `failed handshakes are told of once a minute, with their number`() throws {
        let folder = try AccessLogTests.Folder()
        let certificate = try ServerCertificate(
            try Self.certificate(folder), log: AccessLogTests.quiet)
        let now = ContinuousClock.now
        func told(_ seconds: Int) -> String? {
            certificate.handshakeFailed("noise", from: "192.0.2.1", now: now + .seconds(seconds))
        }
        #expect(told(0) == "a handshake of TLS with 192.0.2.1 failed: noise")
        for second in 1 ..< 60 { #expect(told(second) == nil) }
        #expect(told(60)?.hasSuffix("noise (59 more failed since the last such line)") == true)
        #expect(told(61) == nil)
    }

    @Test func `a key with a passphrase is refused, and nobody is asked for it`() throws {
        let folder = try AccessLogTests.Folder()
        var settings = try Self.certificate(folder)
        let sealed = folder.path("sealed.key")
        let made = try Self.run(
            "openssl",
            ["pkey", "-in", settings.key, "-aes256", "-passout", "pass:secret", "-out", sealed])
        try #require(made.status == 0, "\(made.output)")
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: sealed)
        settings.key = sealed
        let error = #expect(throws: ServingError.self) { try TLSContext(settings, now: .now) }
        #expect(error?.message.contains("cannot be used") == true)
    }
}
