import Foundation
import Glibc
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// As little of an OpenAI client as a test needs.
struct Client {
    let address: RunningJob.Address

    init(_ address: RunningJob.Address) { self.address = address }

    /// The text of a greedy completion.
    func complete(_ prompt: String, tokens: Int) async throws -> String {
        let url = try #require(URL(string: "http://127.0.0.1:\(address.port)/v1/completions"))
        var request = URLRequest(url: url, timeoutInterval: 60)
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        request.httpBody = try JSONSerialization.data(withJSONObject: [
            "model": "stories-fp8", "prompt": prompt, "max_tokens": tokens, "temperature": 0,
        ])
        let (body, response) = try await URLSession.shared.data(for: request)
        let status = (response as? HTTPURLResponse)?.statusCode
        guard status == 200 else {
            throw Failure("status \(status ?? 0): \(String(decoding: body, as: UTF8.self))")
        }
        let answer = try JSONSerialization.jsonObject(with: body) as? [String: Any]
        let choices = try #require(answer?["choices"] as? [[String: Any]])
        return try #require(choices.first?["text"] as? String)
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
