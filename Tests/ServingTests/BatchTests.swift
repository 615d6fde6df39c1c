import Encoding
import Foundation
import NIOHTTP1
import Testing

@testable import Serving

/// `/v1/files` and `/v1/batches`.
@Suite(.serialized) struct BatchTests {
    private static func folder() -> String {
        FileManager.default.temporaryDirectory.appending(path: "batches-\(UUID().uuidString)").path
    }

    private static func remove(_ path: String) {
        do { try FileManager.default.removeItem(atPath: path) } catch {
            Issue.record("\(path) stays: \(error)")
        }
    }

    private static func withServer(
        folder: String, keys: [String] = [],
        limits: @escaping (inout ServiceLimits) -> Void = { _ in },
        _ body: (TestServer) async throws -> Void
    ) async throws {
        let server = try await TestServer(ranks: 1) { configuration, _ in
            configuration.batchFolder = folder
            configuration.keys = keys
            limits(&configuration.limits)
        }
        do { try await body(server) } catch {
            try await server.stop()
            throw error
        }
        try await server.stop()
    }

    private static func line(
        _ id: String, _ body: String, url: String = "/v1/completions"
    ) -> String {
        #"{"custom_id":"\#(id)","method":"POST","url":"\#(url)","body":\#(body)}"#
    }

    private static func upload(
        _ text: String, to server: TestServer, purpose: String = "batch", key: String? = nil
    ) async throws -> (status: Int, json: JSONValue) {
        let form = """
            --XX\r
            Content-Disposition: form-data; name="purpose"\r
            \r
            \(purpose)\r
            --XX\r
            Content-Disposition: form-data; name="file"; filename="in.jsonl"\r
            Content-Type: application/jsonl\r
            \r
            \(text)\r
            --XX--\r

            """
        let answer = try await server.send(
            .POST, "/v1/files", form,
            headers: [("content-type", "multipart/form-data; boundary=XX")]
                + (key.map { [("authorization", "Bearer \($0)")] } ?? []))
        return (answer.status, try JSONValue.parse(answer.text))
    }

    private static func start(
        _ text: String, on server: TestServer, endpoint: String = "/v1/completions"
    ) async throws -> String {
        let file = try await upload(text, to: server)
        try #require(file.status == 200, "\(file.json.text)")
        let id = file.json["id"]?.string ?? ""
        let batch = try await server.post(
            "/v1/batches",
            """
            {"input_file_id":"\(id)","endpoint":"\(endpoint)","completion_window":"24h",
             "metadata":{"a":"b"}}
            """)
        try #require(batch.status == 200, "\(batch.json.text)")
        return batch.json["id"]?.string ?? ""
    }

    private static func read(_ path: String, _ server: TestServer) async throws -> JSONValue {
        let answer = try await server.send(.GET, path)
        try #require(answer.status == 200, "\(path): \(answer.text)")
        return try JSONValue.parse(answer.text)
    }

    /// The batch when it has ended.
    private static func end(of id: String, on server: TestServer) async throws -> JSONValue {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            let batch = try await read("/v1/batches/\(id)", server)
            let state = Batch.State(rawValue: batch["status"]?.string ?? "")
            if try #require(state).hasEnded { return batch }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw ServingError.engine(message: "batch \(id) does not end")
    }

    /// The lines of a file, by the ids of their requests.
    private static func lines(
        _ batch: JSONValue, _ member: String, _ server: TestServer
    ) async throws -> [String: JSONValue] {
        guard let id = batch[member]?.string else { return [:] }
        let content = try await server.send(.GET, "/v1/files/\(id)/content")
        let lines = try content.text.split(separator: "\n").map { try JSONValue.parse(String($0)) }
        let pairs = lines.map { ($0["custom_id"]?.string ?? "", $0) }
        #expect(Set(pairs.map(\.0)).count == pairs.count, "an id stands twice")
        return Dictionary(pairs) { first, _ in first }
    }

    private static func counts(_ batch: JSONValue) -> [Int?] {
        ["total", "completed", "failed"].map { batch["request_counts"]?[$0]?.integer }
    }

    @Test func `a batch says what its endpoint says`() async throws {
        let path = Self.folder()
        defer { Self.remove(path) }
        let chat = #"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":9,"seed":3}"#
        let bodies = [
            (
                "/v1/completions", #"{"prompt":"Once","max_tokens":9,"seed":3,"logprobs":1}"#,
                "choices"
            ),
            ("/v1/chat/completions", chat, "choices"),
            (
                "/v1/messages",
                chat.replacing(#","seed":3"#, with: #","temperature":0,"model":"stories-fp8""#),
                "content"
            ),
            ("/v1/responses", #"{"input":"Hi","max_output_tokens":9,"seed":3}"#, "status"),
        ]
        try await Self.withServer(folder: path) { server in
            for (url, body, member) in bodies {
                let text = [
                    Self.line("one", body, url: url), "",
                    Self.line("two", #"{"model":"other"}"#, url: url),
                    Self.line("three", body.replacing("{\"", with: #"{"stream":true,""#), url: url),
                ].joined(separator: "\r\n")
                let id = try await Self.start(text, on: server, endpoint: url)
                let batch = try await Self.end(of: id, on: server)
                #expect(batch["status"] == "completed", "\(batch.text)")
                #expect(Self.counts(batch) == [3, 1, 2] && batch["metadata"] == ["a": "b"])
                let answers = try await Self.lines(batch, "output_file_id", server)
                let direct = try await server.post(url, body)
                let response = answers["one"]?["response"]
                #expect(response?["status_code"] == 200)
                #expect(response?["body"]?[member] == direct.json[member], "\(answers)")
                let errors = try await Self.lines(batch, "error_file_id", server)
                #expect(Set(errors.keys) == ["two", "three"])
                for error in errors.values {
                    let status = error["response"]?["status_code"]?.integer ?? 0
                    #expect((400 ... 404).contains(status), "\(error.text)")
                    #expect(error["response"]?["body"]?["error"] != nil)
                }
            }
        }
    }

    @Test func `a file that is no batch is refused line by line`() async throws {
        let path = Self.folder()
        defer { Self.remove(path) }
        try await Self.withServer(folder: path, limits: { $0.batchRequests = 7 }) { server in
            let good = Self.line("a", "{}")
            let text = [
                good, "{", "[]", Self.line("b", "{}", url: "/v1/messages"), good,
                #"{"custom_id":"c"}"#, Self.line("d", "3"), good,
            ].joined(separator: "\n")
            let batch = try await Self.end(
                of: try await Self.start(text, on: server), on: server)
            #expect(batch["status"] == "failed" && batch["output_file_id"]?.isNull == true)
            let faults = batch["errors"]?["data"]?.array ?? []
            #expect(faults.map { $0["line"]?.integer } == [2, 3, 4, 5, 6, 7, 8], "\(batch.text)")
            #expect(
                faults.map { $0["code"]?.string } == [
                    "invalid_json_line", "invalid_json_line", "mismatched_url",
                    "duplicate_custom_id", "invalid_request", "invalid_request",
                    "too_many_requests",
                ])
            let empty = try await Self.end(of: try await Self.start("\n", on: server), on: server)
            #expect(empty["errors"]?["data"]?.array?.first?["code"] == "empty_file")
        }
    }

    /// A server that goes down in the middle, in which a line was cut, and the next one.
    @Test func `a later server goes on with a batch, and no request is answered twice`()
        async throws
    {
        let path = Self.folder()
        defer { Self.remove(path) }
        // Forty texts, two at a time: they do not end while the server goes down.
        let body = #"{"prompt":"Once","max_tokens":300,"ignore_eos":true,"seed":1}"#
        let text = (0 ..< 40).map { Self.line("n\($0)", body) }.joined(separator: "\n")
        var id = ""
        try await Self.withServer(folder: path, limits: { $0.batchTexts = 2 }) { server in
            let started = try await Self.start(text, on: server)
            try await Wait.until("five requests are answered") {
                let batch = try await Self.read("/v1/batches/\(started)", server)
                return Self.counts(batch)[1] ?? 0 >= 5
            }
            id = started
        }
        let data = try Data(contentsOf: URL(filePath: "\(path)/batches/\(id).json"))
        let stored = try JSONDecoder().decode(Batch.self, from: data)
        #expect(stored.state == .inProgress)
        let output = try FileHandle(forWritingTo: URL(filePath: "\(path)/files/\(stored.output)"))
        let whole = try output.seekToEnd()
        try output.write(contentsOf: Data(#"{"id":"x","custom_id":"n39","#.utf8))
        try output.close()
        #expect(whole > 0)
        // What the batch has written counts, and stays, though there is no room any more.
        let limits = { @Sendable (limits: inout ServiceLimits) in
            (limits.fileBytes, limits.allFileBytes) = (1, 1)
        }
        try await Self.withServer(folder: path, limits: limits) { server in
            let batch = try await Self.end(of: id, on: server)
            #expect(batch["status"] == "failed", "\(batch.text)")
            let answers = try await Self.lines(batch, "output_file_id", server)
            #expect(answers.count >= 5)
        }
        try data.write(to: URL(filePath: "\(path)/batches/\(id).json"))
        try await Self.withServer(folder: path) { server in
            let batch = try await Self.end(of: id, on: server)
            #expect(batch["status"] == "completed")
            #expect(Self.counts(batch) == [40, 40, 0], "\(batch.text)")
            let answers = try await Self.lines(batch, "output_file_id", server)
            #expect(Set(answers.keys) == Set((0 ..< 40).map { "n\($0)" }))
            let texts = answers.values.compactMap {
                $0["response"]?["body"]?["choices"]?.array?.first?["text"]?.string
            }
            #expect(texts.count == 40 && Set(texts).count == 1)
        }
    }

    @Test func `a batch is cancelled with what it has, and its input is kept until then`()
        async throws
    {
        let path = Self.folder()
        defer { Self.remove(path) }
        let body = #"{"prompt":"Once","max_tokens":200,"ignore_eos":true}"#
        let text = (0 ..< 30).map { Self.line("n\($0)", body) }.joined(separator: "\n")
        try await Self.withServer(folder: path, limits: { $0.batchTexts = 1 }) { server in
            let id = try await Self.start(text, on: server)
            let begun = try await Self.read("/v1/batches/\(id)", server)
            let input = begun["input_file_id"]?.string ?? ""
            let early = try await server.send(.DELETE, "/v1/files/\(input)")
            #expect(early.status == 400 && early.text.contains(id), "\(early.text)")
            #expect(try await server.send(.POST, "/v1/batches/\(id)/cancel").status == 200)
            let batch = try await Self.end(of: id, on: server)
            #expect(batch["status"] == "cancelled" && batch["cancelled_at"]?.integer != nil)
            let completed = Self.counts(batch)[1] ?? 0
            #expect(completed < 30)
            let answers = try await Self.lines(batch, "output_file_id", server)
            #expect(answers.count == completed)
            #expect(try await server.send(.POST, "/v1/batches/\(id)/cancel").status == 400)
            #expect(try await server.send(.DELETE, "/v1/files/\(input)").status == 200)
            #expect(try await server.send(.GET, "/v1/files/\(input)").status == 404)
        }
    }

    @Test func `what is left after the window is given up`() async throws {
        let path = Self.folder()
        defer { Self.remove(path) }
        try await Self.withServer(folder: path) { server in
            _ = try await Self.upload(Self.line("late", "{}"), to: server)
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(path)/files")
        let input = try #require(names.first { !$0.hasSuffix(".json") })
        let batch = Batch(
            endpoint: .completions, input: input, hours: 1, metadata: [:], owner: "")
        // As if it had been ordered two hours ago.
        var value = try JSONValue.parse(
            String(decoding: try JSONEncoder().encode(batch), as: UTF8.self))
        let members = (value.object ?? []).map { key, value in
            (key: key, value: key == "created" ? .number(StoredID.now - 7200) : value)
        }
        value = .object(members)
        try Data(value.text.utf8).write(to: URL(filePath: "\(path)/batches/\(batch.id).json"))
        try await Self.withServer(folder: path) { server in
            let ended = try await Self.end(of: batch.id, on: server)
            #expect(ended["status"] == "expired" && Self.counts(ended) == [1, 0, 1])
            let errors = try await Self.lines(ended, "error_file_id", server)
            #expect(errors["late"]?["error"]?["code"] == "batch_expired")
        }
    }

    /// The next answer on the connection would be taken for the rest of the file.
    @Test func `a file that lost bytes on the disk does not end as if it were whole`()
        async throws
    {
        let path = Self.folder()
        defer { Self.remove(path) }
        try await Self.withServer(folder: path) { server in
            let file = try await Self.upload("0123456789", to: server)
            let id = try #require(file.json["id"]?.string)
            let content = "GET /v1/files/\(id)/content HTTP/1.1\r\nhost: x\r\n"
            let next = "GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            let whole = try await WireTests.exchange(server.port, content + "\r\n" + next)
            #expect(whole.contains("0123456789") && whole.contains("\"version\""))
            let handle = try FileHandle(forWritingTo: URL(filePath: "\(path)/files/\(id)"))
            try handle.truncate(atOffset: 4)
            try handle.close()
            let cut = try await WireTests.exchange(server.port, content + "\r\n" + next)
            #expect(!cut.contains("\"version\""), "\(cut)")
        }
    }

    @Test func `callers with one key do not see another's files and batches`() async throws {
        let path = Self.folder()
        defer { Self.remove(path) }
        try await Self.withServer(folder: path, keys: ["A", "B"]) { server in
            let file = try await Self.upload(Self.line("a", "{}"), to: server, key: "A")
            let id = try #require(file.json["id"]?.string)
            func get(_ path: String, _ key: String) async throws -> (status: Int, text: String) {
                try await server.send(.GET, path, headers: [("authorization", "Bearer \(key)")])
            }
            #expect(try await get("/v1/files/\(id)", "A").status == 200)
            #expect(try await get("/v1/files", "A").text.contains(id))
            for path in ["/v1/files/\(id)", "/v1/files/\(id)/content"] {
                #expect(try await get(path, "B").status == 404)
            }
            #expect(try await !get("/v1/files", "B").text.contains(id))
            let order = try await server.send(
                .POST, "/v1/batches",
                """
                {"input_file_id":"\(id)","endpoint":"/v1/completions","completion_window":"24h"}
                """, headers: [("authorization", "Bearer B")])
            #expect(order.status == 400 && order.text.contains("input_file_id"))
            let made = try await server.send(
                .POST, "/v1/responses", #"{"input":"Hi","max_output_tokens":4}"#,
                headers: [("authorization", "Bearer A")])
            let response = try JSONValue.parse(made.text)["id"]?.string ?? ""
            #expect(try await get("/v1/responses/\(response)", "A").status == 200)
            #expect(try await get("/v1/responses/\(response)", "B").status == 404)
        }
    }

    @Test func `limits are kept, and what is refused leaves nothing`() async throws {
        let path = Self.folder()
        defer { Self.remove(path) }
        func files() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "\(path)/files").count
        }
        try await Self.withServer(
            folder: path,
            limits: {
                $0.fileBytes = 1000
                $0.allFileBytes = 1500
            }
        ) { server in
            let big = try await Self.upload(String(repeating: "x", count: 1001), to: server)
            #expect(big.status == 413 && big.json.text.contains("fileBytes"))
            let other = try await Self.upload("{}", to: server, purpose: "fine-tune")
            #expect(other.status == 400 && other.json.text.contains("fine-tune"))
            #expect(try files() == 0)
            let first = try await Self.upload(String(repeating: "x", count: 900), to: server)
            #expect(first.status == 200 && first.json["bytes"] == 900)
            let second = try await Self.upload(String(repeating: "x", count: 900), to: server)
            #expect(second.status == 413 && second.json.text.contains("allFileBytes"))
            #expect(try files() == 2)
            let id = first.json["id"]?.string ?? ""
            #expect(try await server.send(.DELETE, "/v1/files/\(id)").status == 200)
            #expect(try files() == 0)
            let third = try await Self.upload(String(repeating: "x", count: 900), to: server)
            #expect(third.status == 200)
            for path in ["../lock", "lock", "%2e%2e%2flock"] {
                #expect(try await server.send(.GET, "/v1/files/\(path)/content").status == 404)
            }
            #expect(throws: ServingError.self) {
                try BatchFolder(path: path, limits: ServiceLimits())
            }
        }
        try await APITests.withServer(ranks: 1) { server in
            let answer = try await server.send(.GET, "/v1/batches")
            #expect(answer.status == 404 && answer.text.contains("batchFolder"))
        }
    }
}
