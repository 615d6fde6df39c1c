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
    /// Whether another URL that the endpoint names is asked in its place, five times at most.
    var followsRedirects = true
    /// Whether a proxy that the environment names may carry the request, which reads the key of one
    /// over plain HTTP.
    var takesProxies = true

    struct Answer {
        let status: Int
        let body: Data
        /// Where a redirection that was not followed points.
        let redirection: String?
    }

    /// The request failed before the endpoint answered.
    struct Failure: Error {
        /// What `curl` wrote to standard error.
        let fact: String
        /// The status with which `curl` exited; nil where it did not.
        var status: Int32?

        /// No connection came about: nobody listens there, or there is no way to the machine.
        static let noConnection: Int32 = 7
        /// The certificate is not valid for this URL, or nobody known vouches for it.
        static let certificate: Int32 = 60
        /// The answer was cut, late or empty, or the connection broke while it was used.
        private static let lateOrCut: Set<Int32> = [18, 28, 52, 55, 56, 92]

        /// Whether the endpoint may have taken the request all the same.
        var mayBeUnderWay: Bool { status.map(Self.lateOrCut.contains) ?? false }
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
        var exitStatus: Int32?
        if case .exited(let status)? = child.end { exitStatus = status }
        // `write-out` ends the output with a line break, the status, and where it points.
        guard exitStatus == 0, let end = output.lastIndex(of: "\n") else {
            throw Failure(
                fact: complaint.trimmingCharacters(in: .whitespacesAndNewlines),
                status: exitStatus)
        }
        let words = output[output.index(after: end)...].split(separator: " ")
        guard let status = words.first.flatMap({ Int($0) }) else {
            throw Failure(fact: "curl wrote no status")
        }
        return Answer(
            status: status, body: Data(output[..<end].utf8),
            redirection: words.count > 1 ? String(words[1]) : nil)
    }

    private var configuration: String {
        var lines = [
            "silent", "show-error", "max-time = \(limitSeconds)",
            "url = \(quoted(url))", "header = \"Content-Type: application/json\"",
            "data-binary = \"@-\"",
            "write-out = \"\\n%{http_code} %{redirect_url}\"",
        ]
        // `--disable` leaves out curl's files, and not the environment.
        if !takesProxies { lines.append("noproxy = \"*\"") }
        if followsRedirects { lines += ["location", "max-redirs = 5"] }
        if let key { lines.append("header = \(quoted("Authorization: Bearer " + key))") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func quoted(_ text: String) -> String {
        let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            .replacing("\n", with: "\\n")
        return "\"\(escaped)\""
    }
}
