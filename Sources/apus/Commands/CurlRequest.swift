import Cluster
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
    /// `curl` reads the body from a pipe. The key stands in a file that only this user can read,
    /// because other users can read command lines.
    ///
    /// - Parameter stop: `curl` ends when it is raised.
    /// - Throws: `Failure` when no answer came in time, or when `stop` was raised.
    func send(stop: StopFlag) throws -> Answer {
        let file = FileManager.default.temporaryDirectory.appending(
            path: "apus-request-\(UUID().uuidString)"
        ).path(percentEncoded: false)
        guard
            FileManager.default.createFile(
                atPath: file, contents: Data(configuration.utf8),
                attributes: [.posixPermissions: 0o600])
        else { throw Failure(fact: "\(file) cannot be written") }
        defer { try? FileManager.default.removeItem(atPath: file) }
        let child = try Child(
            Command(words: ["curl", "--disable", "--config", file]), output: .captured, input: body)
        while child.wait(.milliseconds(100)) == nil {
            if stop.isRaised { child.end(within: Child.patience) }
        }
        let (output, complaint) = child.captured()
        // `write-out` ends the output with a line break and the status.
        guard child.end == .exited(0), let end = output.lastIndex(of: "\n"),
            let status = Int(output[output.index(after: end)...])
        else {
            throw Failure(fact: complaint.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        return Answer(status: status, body: Data(output[..<end].utf8))
    }

    private var configuration: String {
        var lines = [
            "silent", "show-error", "location", "max-redirs = 5", "max-time = \(limitSeconds)",
            "url = \(quoted(url))", "header = \"Content-Type: application/json\"",
            "data-binary = \"@-\"", "write-out = \"\\n%{http_code}\"",
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
