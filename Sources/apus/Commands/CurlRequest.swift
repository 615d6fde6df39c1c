import Foundation

/// A POST of JSON by the program `curl`, which brings TLS and the system's certificates.
///
/// Foundation's `URLSession` would make FoundationNetworking and libcurl a part of every program.
struct CurlRequest {
    let url: String
    let body: Data
    /// Sent as a bearer token, if there is one.
    let key: String?
    let limitSeconds: Double

    struct Answer {
        let status: Int
        let body: Data
    }

    /// The request failed before the endpoint answered.
    struct Failure: Error {
        /// What `curl` wrote to standard error.
        let fact: String
    }

    /// Sends the request and waits for the whole answer.
    ///
    /// The key travels through a pipe, because other users can read command lines and files.
    ///
    /// - Throws: `Failure` when no answer came in time.
    func send() throws -> Answer {
        let file = FileManager.default.temporaryDirectory.appending(
            path: "apus-request-\(UUID().uuidString).json")
        try body.write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["curl", "--disable", "--config", "-"]
        let (settings, output, complaints) = (Pipe(), Pipe(), Pipe())
        process.standardInput = settings
        process.standardOutput = output
        process.standardError = complaints
        // Below a pipe's 64 KiB, and both ends are still open here: the write cannot block or fail.
        try settings.fileHandleForWriting.write(
            contentsOf: Data(configuration(bodyPath: file.path(percentEncoded: false)).utf8))
        try settings.fileHandleForWriting.close()
        try process.run()
        let answer = try output.fileHandleForReading.readToEnd() ?? Data()
        let complaint = try complaints.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        // `write-out` ends the output with a line break and the status.
        guard process.terminationStatus == 0, let end = answer.lastIndex(of: UInt8(ascii: "\n")),
            let status = Int(String(decoding: answer[(end + 1)...], as: UTF8.self))
        else {
            throw Failure(
                fact: String(decoding: complaint, as: UTF8.self)
                    .trimmingCharacters(in: .whitespacesAndNewlines))
        }
        return Answer(status: status, body: answer[..<end])
    }

    private func configuration(bodyPath: String) -> String {
        var lines = [
            "silent", "show-error", "max-time = \(limitSeconds)", "url = \(quoted(url))",
            "header = \"Content-Type: application/json\"",
            "data-binary = \(quoted("@" + bodyPath))", "write-out = \"\\n%{http_code}\"",
        ]
        if let key { lines.append("header = \(quoted("Authorization: Bearer " + key))") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func quoted(_ text: String) -> String {
        let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            .replacing("\n", with: "\\n")
        return "\"\(escaped)\""
    }
}
