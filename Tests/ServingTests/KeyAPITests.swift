import Encoding
import Foundation
import NIOCore
import NIOHTTP1
import Testing

@testable import Serving

/// A server with a file of keys, as its clients and its operator see it.
@Suite(.serialized) struct KeyAPITests {
    private static let text = """
        alice: {key: \(KeyTests.alice), requestsPerMinute: 600, tokensPerMinute: 60}
        bob: {key: \(KeyTests.bob), textsAtOnce: 1}
        operator: {key: the-secret-of-the-operator, admin: true}
        """
    private static let admin = "the-secret-of-the-operator"

    private static func withServer(
        _ text: String = text,
        _ body: (TestServer, AccessLogTests.Folder) async throws -> Void
    ) async throws {
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write(text, folder)
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.keyFile = path
                api.accessLog.file = folder.path("log")
            }
        ) { try await body($0, folder) }
    }

    private static func send(
        _ server: TestServer, _ method: HTTPMethod, _ path: String, _ key: String,
        _ body: String? = nil
    ) async throws -> (status: Int, text: String) {
        try await server.send(
            method, path, body, headers: [("authorization", "Bearer \(key)")])
    }

    private static let completion = #"{"prompt":"Once upon","max_tokens":8,"temperature":0}"#

    @Test func `a key's name stands in the metrics and the log, and never the key`() async throws {
        try await Self.withServer { server, folder in
            for key in [KeyTests.alice, KeyTests.bob] {
                let answer = try await Self.send(
                    server, .POST, "/v1/completions", key, Self.completion)
                #expect(answer.status == 200, "\(answer.text)")
            }
            #expect(try await Self.send(server, .GET, "/v1/models", "wrong").status == 401)
            #expect(try await server.send(.GET, "/v1/models").status == 401)
            let metrics = try await Self.send(server, .GET, "/metrics", Self.admin).text
            let cost =
                try JSONValue.parse(
                    try await Self.send(
                        server, .POST, "/v1/completions", KeyTests.bob, Self.completion
                    ).text)["usage"]?["total_tokens"]?.integer ?? 0
            #expect(cost > 8)
            for name in ["alice", "bob"] {
                #expect(metrics.contains(#"apus:key_requests_total{key="\#(name)"} 1.0"#))
                #expect(metrics.contains(#"apus:key_tokens_total{key="\#(name)"} \#(cost).0"#))
            }
            #expect(metrics.contains(#"apus:key_refusals_total{key="operator"} 0.0"#))
            let log = try await Self.log(folder, lines: 6)
            let names = log.split(separator: "\n").map { $0.split(separator: " ").last ?? "" }
            #expect(names == ["alice", "bob", "-", "-", "operator", "bob"])
            for secret in [KeyTests.alice, KeyTests.bob, Self.admin] {
                #expect(!log.contains(secret) && !metrics.contains(secret))
            }
        }
    }

    /// The access log, once it has so many lines.
    private static func log(_ folder: AccessLogTests.Folder, lines: Int) async throws -> String {
        try await Wait.until("\(lines) lines of the log") {
            try folder.text("log").count { $0 == "\n" } >= lines
        }
        return try folder.text("log")
    }

    @Test func `a key that has used its tokens gets 429 with what OpenAI's clients read`()
        async throws
    {
        try await Self.withServer { server, _ in
            let long = #"{"prompt":"Once upon","max_tokens":700,"ignore_eos":true}"#
            #expect(
                try await Self.send(server, .POST, "/v1/completions", KeyTests.alice, long).status
                    == 200)
            let answer = try await WireTests.exchange(
                server.port,
                "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                    + "authorization: Bearer \(KeyTests.alice)\r\n"
                    + "content-type: application/json\r\n"
                    + "content-length: \(Self.completion.utf8.count)\r\n\r\n\(Self.completion)")
            #expect(answer.hasPrefix("HTTP/1.1 429"), "\(answer)")
            for part in [
                "retry-after: ", "x-ratelimit-limit-requests: 600",
                "x-ratelimit-remaining-requests: 59", "x-ratelimit-limit-tokens: 60",
                "x-ratelimit-remaining-tokens: 0", "x-ratelimit-reset-tokens: 1",
                #""type":"tokens""#, #""code":"rate_limit_exceeded""#,
            ] { #expect(answer.contains(part), "\(part) is not in \(answer)") }
            // A path that writes no text costs no token, and another key has its own.
            #expect(try await Self.send(server, .GET, "/v1/models", KeyTests.alice).status == 200)
            let other = try await Self.send(
                server, .POST, "/v1/completions", KeyTests.bob, Self.completion)
            #expect(other.status == 200)
            let message = try await Self.send(
                server, .POST, "/v1/messages", KeyTests.alice,
                #"{"model":"stories-fp8","max_tokens":8,"#
                    + #""messages":[{"role":"user","content":"Hi"}]}"#)
            #expect(message.status == 429 && message.text.contains("rate_limit_error"))
        }
    }

    @Test func `texts at once are limited by key`() async throws {
        try await Self.withServer { server, _ in
            let two = #"{"prompt":"Once","max_tokens":2,"n":2}"#
            let answer = try await Self.send(
                server, .POST, "/v1/completions", KeyTests.bob, two)
            #expect(answer.status == 400 && answer.text.contains("textsAtOnce"))
            #expect(
                try await Self.send(server, .POST, "/v1/completions", KeyTests.alice, two).status
                    == 200)
            // One text is allowed, and a second one at the same time is not.
            let running = try await Self.longText(server)
            let second = try await Self.send(
                server, .POST, "/v1/completions", KeyTests.bob, Self.completion)
            #expect(second.status == 429, "\(second.text)")
            let error = try JSONValue.parse(second.text)["error"]
            #expect(error?["code"]?.string == "rate_limit_exceeded")
            #expect(error?["type"]?.string == "requests")
            #expect(error?["message"]?.string?.contains("textsAtOnce") == true)
            #expect(try await running.value.status == 200)
        }
    }

    /// As many as the context of 2048 has room for: no such text ends while a test acts.
    private static let longTokens = 1900

    /// A text of so many tokens that bob has asked for, once it is under way.
    private static func longText(
        _ server: TestServer
    ) async throws -> Task<(status: Int, text: String), any Error> {
        let long = #"{"prompt":"Once upon","max_tokens":\#(longTokens),"ignore_eos":true}"#
        let before = server.generatedTokens
        let running = Task {
            try await send(server, .POST, "/v1/completions", KeyTests.bob, long)
        }
        try await Wait.until("a token") { server.generatedTokens > before }
        return running
    }

    @Test func `a key that leaves the file is refused within seconds`() async throws {
        try await Self.withServer { server, folder in
            #expect(try await Self.send(server, .GET, "/v1/models", KeyTests.bob).status == 200)
            _ = try KeyTests.write("alice: \(KeyTests.alice)\n", folder)
            try await Wait.until("bob is refused") {
                try await Self.send(server, .GET, "/v1/models", KeyTests.bob).status == 401
            }
            #expect(try await Self.send(server, .GET, "/v1/models", KeyTests.alice).status == 200)
        }
    }

    @Test(arguments: ["/admin/drain", "/admin/stop", "/admin/trace"])
    func `only an admin's key ends the server`(path: String) async throws {
        try await Self.withServer { server, _ in
            #expect(try await server.send(.POST, path).status == 401)
            let refused = try await Self.send(server, .POST, path, KeyTests.alice)
            #expect(refused.status == 403 && refused.text.contains("admin_key_required"))
            #expect(try await Self.send(server, .GET, path, Self.admin).status == 405)
            for query in ["?seconds=0", "?seconds=x", "?rank=x", "?rank=-1", "?now=1"]
            where query.hasPrefix("?now") == (path == "/admin/stop")
                && (path == "/admin/drain" || !query.hasPrefix("?rank"))
            {
                let answer = try await Self.send(server, .POST, path + query, Self.admin)
                #expect(answer.status == 400, "\(answer.text)")
            }
            #expect(try await server.send(.GET, "/health").status == 200)
        }
    }

    @Test(arguments: ["/admin/drain", "/admin/stop", "/admin/trace"])
    func `without an admin's key there is no such path`(path: String) async throws {
        try await Self.withServer("alice: \(KeyTests.alice)") { server, _ in
            let status = try await Self.send(server, .POST, path, KeyTests.alice).status
            #expect(status == 404)
        }
        try await APITests.withServer(ranks: 1) { server in
            let status = try await server.send(.POST, path).status
            #expect(status == 404)
        }
    }

    @Test func `an operator's path needs its key before it says anything, and is always allowed`()
        async throws
    {
        let text = """
            alice: \(KeyTests.alice)
            operator: {key: \(Self.admin), admin: true, requestsPerMinute: 1}
            """
        let folder = try AccessLogTests.Folder()
        let path = try KeyTests.write(text, folder)
        try await APITests.withServer(
            ranks: 1,
            adjust: { api, _ in
                api.keyFile = path
                api.cors = ["*"]
            }
        ) { server in
            #expect(try await server.send(.OPTIONS, "/v1/models").status == 204)
            #expect(try await server.send(.OPTIONS, "/admin/stop").status == 401)
            let allowed = try await Self.send(server, .OPTIONS, "/admin/stop", Self.admin)
            #expect(allowed.status == 405)
            #expect(try await Self.send(server, .GET, "/v1/models", Self.admin).status == 200)
            #expect(try await Self.send(server, .GET, "/v1/models", Self.admin).status == 429)
            for _ in 0 ..< 3 {
                let answer = try await WireTests.exchange(
                    server.port,
                    "POST /admin/drain HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                        + "authorization: Bearer \(Self.admin)\r\norigin: https://a.example\r\n"
                        + "content-length: 0\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 202"), "\(answer)")
                #expect(!answer.lowercased().contains("access-control"), "\(answer)")
            }
        }
    }

    @Test func `a key sees its own series, and all with a word in the file`() async throws {
        let text = Self.text + "\nwatcher: {key: the-secret-of-the-watcher, metrics: true}"
        try await Self.withServer(text) { server, _ in
            func names(_ key: String) async throws -> [String] {
                try await Self.send(server, .GET, "/metrics", key).text
                    .matches(of: /key_requests_total\{key="(\w+)"\}/).map { String($0.1) }
            }
            let all = ["alice", "bob", "operator", "watcher"]
            let seen = [
                try await names(KeyTests.alice), try await names(Self.admin),
                try await names("the-secret-of-the-watcher"),
            ]
            #expect(seen == [["alice"], all, all])
        }
    }

    @Test func `a drain answers what runs, refuses what is new, and then asks for the end`()
        async throws
    {
        try await Self.withServer { server, _ in
            let running = try await Self.longText(server)
            let accepted = try await Self.send(server, .POST, "/admin/drain", Self.admin)
            #expect(accepted.status == 202)
            #expect(try JSONValue.parse(accepted.text)["status"]?.string == "draining")
            let refused = try await Self.send(
                server, .POST, "/v1/completions", KeyTests.alice, Self.completion)
            #expect(refused.status == 503 && refused.text.contains("draining"))
            #expect(try await server.send(.GET, "/health").status == 503)
            var requests = server.endRequests.makeAsyncIterator()
            #expect(await requests.next() != nil)
            // The end is asked for when no text is left, and not before.
            let load = try await Self.send(server, .GET, "/load", Self.admin)
            #expect(load.text == #"{"server_load":0}"#, "\(load.text)")
            let answer = try await running.value
            #expect(answer.status == 200, "\(answer.text)")
            let count = try JSONValue.parse(answer.text)["usage"]?["completion_tokens"]?.integer
            #expect(count == Self.longTokens)
        }
    }

    @Test func `a rank that cannot leave is said so, and nothing drains`() async throws {
        try await Self.withServer { server, _ in
            let answer = try await Self.send(server, .POST, "/admin/drain?rank=0", Self.admin)
            #expect(answer.status == 409 && answer.text.contains("rank_stays"), "\(answer.text)")
            let both = "/admin/drain?rank=0&seconds=5"
            #expect(try await Self.send(server, .POST, both, Self.admin).status == 400)
            #expect(try await server.send(.GET, "/health").status == 200)
        }
    }

    @Test func `a server that goes down hears its operator until its last text`() async throws {
        try await Self.withServer { server, _ in
            let running = try await Self.longText(server)
            let refusing = Task { await server.refuse() }
            try await Wait.until("the server drains") {
                try await server.send(.GET, "/health").status == 503
            }
            // A new connection each: nothing else would tell an operator that a text runs.
            let asked = try await Self.send(server, .POST, "/admin/stop?now=true", Self.admin)
            #expect(asked.status == 202 && asked.text.contains(#""texts":1"#), "\(asked.text)")
            #expect(try await running.value.status == 200)
            await refusing.value
        }
    }

    @Test func `requests that were sent ahead are logged with their own keys`() async throws {
        try await Self.withServer { server, folder in
            let names = (0 ..< 200).map { $0 % 2 == 0 ? "bob" : "operator" }
            var text = ""
            for (index, name) in names.enumerated() {
                let key = name == "bob" ? KeyTests.bob : Self.admin
                let end = index == names.count - 1 ? "connection: close\r\n" : ""
                text += "GET /version/\(index) HTTP/1.1\r\nhost: x\r\n"
                text += "authorization: Bearer \(key)\r\n\(end)\r\n"
            }
            _ = try await WireTests.exchange(server.port, text)
            let lines = try await Self.log(folder, lines: names.count).split(separator: "\n")
            #expect(lines.map { String($0.split(separator: " ").last ?? "") } == names)
            for (index, line) in lines.enumerated() {
                #expect(line.contains(" /version/\(index) "), "\(line)")
            }
        }
    }

    @Test func `a prefix is found again with the key that sent it alone`() async throws {
        try await Self.withServer { server, _ in
            let words = String(repeating: "once upon a time ", count: 60)
            let body = #"{"prompt":"\#(words)","max_tokens":1}"#
            func cached(_ key: String) async throws -> Int? {
                let answer = try await Self.send(server, .POST, "/v1/completions", key, body)
                let usage = try JSONValue.parse(answer.text)["usage"]
                return usage?["prompt_tokens_details"]?["cached_tokens"]?.integer
            }
            #expect(try await cached(KeyTests.bob) == 0)
            #expect(try await cached(Self.admin) == 0)
            let again = try #require(try await cached(KeyTests.bob))
            #expect(again > 100)
        }
    }
}
