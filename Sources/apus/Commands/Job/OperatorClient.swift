import ArgumentParser
import Cluster
import Foundation
import Serving
import Topology

/// How an operator's command reaches a server: its URL, and a key that may end it.
struct OperatorClient {
    private let url: String
    private let key: String
    private let limit: Duration

    /// For one request; the server answers at once.
    private static let requestSeconds = 10.0
    /// Between two looks at a server that ends.
    private static let pauseSeconds = 0.3

    /// What the server says of its end.
    private struct Accepted: Decodable {
        let texts: Int
    }

    /// What the server says of a request that it refuses.
    private struct Refused: Decodable {
        struct Fact: Decodable {
            let message: String
        }

        let error: Fact
    }

    /// - Parameters:
    ///   - url: As `https://host:8080`; a path is left out.
    ///   - keyFile: The file of named keys, whose first admin's key is sent; nil takes
    ///     `APUS_ADMIN_KEY`.
    ///   - limit: For the server to end.
    /// - Throws: `ClusterError.badInput` for a URL of another kind, and without a key.
    init(_ url: String, keyFile: String?, limit: Duration) throws {
        guard let parts = URLComponents(string: url), let host = parts.host, !host.isEmpty,
            let scheme = parts.scheme, ["http", "https"].contains(scheme)
        else { throw ClusterError.badInput("\(url) is no URL as http://host:8080") }
        var root = URLComponents()
        (root.scheme, root.host, root.port) = (scheme, host, parts.port)
        self.url = root.string ?? url
        self.limit = limit
        if let keyFile {
            key = try OpenAIServerConfiguration.adminKey(in: keyFile)
        } else if let key = ProcessInfo.processInfo.environment["APUS_ADMIN_KEY"], !key.isEmpty {
            self.key = key
        } else {
            throw ClusterError.badInput(
                "no key: set APUS_ADMIN_KEY, or name the file of keys (--key-file); the key must "
                    + "be marked admin: true in the server's api.keyFile")
        }
    }

    /// Asks the server to end, and asks again until it answers no more.
    ///
    /// - Parameters:
    ///   - path: `/admin/...`, with its query.
    ///   - again: The same path without what only the first request says.
    ///   - note: Told how many texts are under way, when that changes.
    /// - Throws: `ClusterError.badInput` with what the server has against it; `deadline` when it
    ///   still answers after the limit.
    func end(_ path: String, again: String, note: (Int) -> Void) throws {
        let begin = ContinuousClock.now
        let stop = StopFlag.onSignals()
        var texts = try accepted(try ask(path, stop))
        note(texts)
        while true {
            stop.wait(Self.pauseSeconds)
            if stop.isRaised { throw ExitCode(128 + (stop.raisedBy ?? 0)) }
            let answer: CurlRequest.Answer
            do { answer = try ask(again, stop) } catch { return }
            // What a proxy says of a server that is gone.
            guard !(502 ... 504).contains(answer.status) else { return }
            let now = try accepted(answer)
            if now != texts { note(now) }
            texts = now
            guard .now - begin < limit else {
                throw ClusterError.deadline(
                    "\(url) was asked to end, and still answers after \(limit)")
            }
        }
    }

    private func ask(_ path: String, _ stop: StopFlag) throws -> CurlRequest.Answer {
        let request = CurlRequest(
            url: url + path, body: Data(), key: key, limitSeconds: Self.requestSeconds)
        do { return try request.send(stop: stop) } catch let failure as CurlRequest.Failure {
            throw ClusterError.badInput("\(url): \(failure.fact)")
        }
    }

    /// The texts under way, of an answer that accepts the request.
    private func accepted(_ answer: CurlRequest.Answer) throws -> Int {
        let decoder = JSONDecoder()
        if answer.status == 202, let end = try? decoder.decode(Accepted.self, from: answer.body) {
            return end.texts
        }
        let refused = try? decoder.decode(Refused.self, from: answer.body)
        let fact = refused?.error.message ?? "the answer is no server's of Apus"
        let hint =
            answer.status == 404
            ? "; a server without a key marked admin: true has no such path" : ""
        throw ClusterError.badInput(
            "\(url) answers \(answer.status): \(TaggedLog.plain(fact))\(hint)")
    }
}
