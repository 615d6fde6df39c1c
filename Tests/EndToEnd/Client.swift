import Foundation
import Glibc
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// As little of an OpenAI client as a test needs.
struct Client {
    let address: RunningJob.Address
    private let key: String?

    init(_ address: RunningJob.Address, key: String? = nil) {
        self.address = address
        self.key = key
    }

    /// The text of a greedy completion.
    func complete(_ prompt: String, tokens: Int) async throws -> String {
        let (status, body) = try await ask(prompt, tokens: tokens)
        guard status == 200 else { throw Failure("status \(status): \(body)") }
        let answer = try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any]
        let choices = try #require(answer?["choices"] as? [[String: Any]])
        return try #require(choices.first?["text"] as? String)
    }

    /// Status and body of a greedy completion, whatever they are.
    func ask(
        _ prompt: String, tokens: Int, more: [String: Bool] = [:]
    ) async throws -> (status: Int, body: String) {
        let fields: [String: Any] = [
            "model": "stories-fp8", "prompt": prompt, "max_tokens": tokens, "temperature": 0,
        ]
        let body = try JSONSerialization.data(withJSONObject: fields.merging(more) { $1 })
        return try await send("/v1/completions", body)
    }

    /// What `/health` says, whatever its status.
    func health() async throws -> String { try await send("/health", nil).body }

    /// The sum over ranks of one of the server's metrics, or the only one of that name.
    func metric(_ name: String) async throws -> Double {
        let (_, text) = try await send("/metrics", nil)
        return text.split(separator: "\n")
            .filter { $0.hasPrefix("apus:\(name){") || $0.hasPrefix("apus:\(name) ") }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0, +)
    }

    /// Texts of which the server has given a token, ended ones among them: unlike those that run,
    /// it only grows.
    func begunTexts() async throws -> Double {
        try await metric("time_to_first_token_seconds_count")
    }

    /// Returns once so many texts have begun since the server started.
    func waitUntilBegun(_ count: Double) async throws {
        try await Wait.until("\(count) texts have begun") { try await begunTexts() >= count }
    }

    private func send(_ path: String, _ body: Data?) async throws -> (status: Int, body: String) {
        let url = try #require(URL(string: "http://\(address.host):\(address.port)\(path)"))
        var request = URLRequest(url: url, timeoutInterval: 60)
        if let key { request.setValue("Bearer \(key)", forHTTPHeaderField: "Authorization") }
        if let body {
            request.httpMethod = "POST"
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
            request.httpBody = body
        }
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpMaximumConnectionsPerHost = 64
        let session = URLSession(configuration: configuration)
        defer { session.finishTasksAndInvalidate() }
        let (bytes, response) = try await session.data(for: request)
        let status = (response as? HTTPURLResponse)?.statusCode ?? 0
        return (status, String(decoding: bytes, as: UTF8.self))
    }
}

/// Bytes that no program of ours sends.
enum Garbage {
    /// Connects, sends, and goes away.
    static func send(_ bytes: [UInt8], port: Int) throws {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(filePath: "/bin/bash")
        process.arguments = ["-c", "cat > /dev/tcp/127.0.0.1/\(port)"]
        process.standardInput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        // The other side may close before all is written: a broken pipe is the expected end.
        signal(SIGPIPE, SIG_IGN)
        try? pipe.fileHandleForWriting.write(contentsOf: Data(bytes))
        try? pipe.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}
