import ArgumentParser
import Cluster
import Foundation
import Serving
import Topology

/// How an operator's command reaches a server: its URL, and a key that may end it.
struct OperatorClient {
    private let url: String
    private let endpoint: Endpoint
    private let key: String
    private let limit: Duration

    /// For one request; the server answers at once.
    private static let requestSeconds = 10.0
    /// Between two polls of a server that ends.
    private static let pauseSeconds = 2.0
    /// Polls in a row at which nobody listens, after which the server counts as gone: one may fall
    /// into a restart of its network.
    private static let missesOfEnd = 2

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
    ///   - allowsPlain: Whether the key may cross a network in clear.
    ///   - limit: For the server to end.
    /// - Throws: `ClusterError.badInput` for a URL of another kind, without a key, and for plain
    ///   HTTP to another machine that was not allowed.
    init(_ url: String, keyFile: String?, allowsPlain: Bool, limit: Duration) throws {
        guard let parts = URLComponents(string: url), let host = parts.host, !host.isEmpty,
            let scheme = parts.scheme, ["http", "https"].contains(scheme)
        else { throw ClusterError.badInput("\(url) is no URL as http://host:8080") }
        guard scheme == "https" || allowsPlain || Self.isLoopback(host) else {
            throw ClusterError.badInput(
                "\(url) is plain HTTP: whoever reads the network on the way would have the "
                    + "admin's key. Give the server a certificate (api.tls), or say --plain where "
                    + "the network is your own")
        }
        var root = URLComponents()
        (root.scheme, root.host, root.port) = (scheme, host, parts.port)
        self.url = root.string ?? url
        endpoint = Endpoint(
            address: host, port: parts.port ?? (scheme == "https" ? 443 : 80))
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
    /// Nobody listens at its port any more: that is its end. What else may be, an answer of a
    /// proxy, none in time, or no way to the machine, is none.
    ///
    /// - Parameters:
    ///   - path: `/admin/...`, with its query.
    ///   - again: The same path without what only the first request says.
    ///   - note: Told how many texts are under way, when that changes.
    /// - Throws: `ClusterError.badInput` with what the server has against it; `deadline` with what
    ///   was seen last when its end was not seen within the limit.
    func end(_ path: String, again: String, note: (Int) -> Void) throws {
        let begin = ContinuousClock.now
        let stop = StopFlag.onSignals()
        var texts = -1
        var misses = 0
        var fact = ""
        func see(_ seen: Seen) {
            switch seen {
            case .texts(let now):
                (misses, fact) = (0, seen.fact)
                if now != texts { note(now) }
                texts = now
            case .nobody: (misses, fact) = (misses + 1, seen.fact)
            case .other: (misses, fact) = (0, seen.fact)
            }
        }
        let first = try ask(path, stop)
        guard case .texts = first else { throw ClusterError.badInput("\(url) \(first.fact)") }
        see(first)
        while misses < Self.missesOfEnd {
            stop.wait(Self.pauseSeconds)
            see(try ask(again, stop))
            guard .now - begin < limit || misses == Self.missesOfEnd else {
                throw ClusterError.deadline(
                    "\(url) was asked to end, and its end was not seen within \(limit): it "
                        + fact)
            }
        }
    }

    /// Has the server record what its ranks do.
    ///
    /// - Returns: The trace as the server sends it.
    /// - Throws: `ClusterError.badInput` with what the server has against it.
    func trace(seconds: Int) throws -> Data { try answer("/admin/trace?seconds=\(seconds)") }

    /// Has a rank leave; returns once it has left.
    ///
    /// - Throws: `ClusterError.badInput` with why it does not; `deadline` where the server was
    ///   asked and its answer did not come.
    func drain(rank: Int) throws {
        _ = try answer(
            "/admin/drain?rank=\(rank)",
            unanswered: "rank \(rank) may still leave; \(url)/health lists it among drained_ranks "
                + "once it has")
    }

    /// What the server answers to a request that it takes time for.
    ///
    /// - Parameter unanswered: What may follow of a request whose answer does not come.
    private func answer(_ path: String, unanswered: String? = nil) throws -> Data {
        let stop = StopFlag.onSignals()
        let request = CurlRequest(
            url: url + path, body: Data(), key: key,
            limitSeconds: limit / .seconds(1), followsRedirects: false,
            takesProxies: false)
        let answer: CurlRequest.Answer
        do { answer = try request.send(stop: stop) } catch let failure as CurlRequest.Failure {
            if let signal = stop.raisedBy { throw ExitCode(ExitStatus.signal(signal).code) }
            let fact = TaggedLog.plain(failure.fact)
            if let unanswered, failure.mayBeUnderWay {
                throw ClusterError.deadline("\(url) gave no answer: \(fact); \(unanswered)")
            }
            throw ClusterError.badInput("\(url) cannot be asked: \(fact)")
        }
        guard answer.status == 200 else {
            throw ClusterError.badInput("\(url) \(seen(answer).fact)")
        }
        return answer.body
    }

    /// What became of a request.
    private enum Seen {
        /// It is accepted, with so many texts under way.
        case texts(Int)
        /// Nobody listens there.
        case nobody(String)
        case other(String)

        /// As it follows the URL in a sentence.
        var fact: String {
            switch self {
            case .texts(let count): "has \(count) texts under way"
            case .nobody(let fact), .other(let fact): fact
            }
        }
    }

    /// - Throws: `ExitCode` when this command was asked to end.
    private func ask(_ path: String, _ stop: StopFlag) throws -> Seen {
        if let signal = stop.raisedBy { throw ExitCode(ExitStatus.signal(signal).code) }
        let request = CurlRequest(
            url: url + path, body: Data(), key: key, limitSeconds: Self.requestSeconds,
            followsRedirects: false, takesProxies: false)
        do { return seen(try request.send(stop: stop)) } catch let failure as CurlRequest.Failure {
            if let signal = stop.raisedBy { throw ExitCode(ExitStatus.signal(signal).code) }
            let fact = "cannot be asked: \(TaggedLog.plain(failure.fact))"
            switch failure.status ?? 0 {
            case CurlRequest.Failure.noConnection
            where endpoint.isRefused(within: .seconds(Self.requestSeconds)):
                return .nobody(fact)
            case CurlRequest.Failure.certificate:
                return .other(
                    fact + "; name the job by its URL, with the host of its certificate")
            default: return .other(fact)
            }
        }
    }

    private func seen(_ answer: CurlRequest.Answer) -> Seen {
        let decoder = JSONDecoder()
        if answer.status == 202, let end = try? decoder.decode(Accepted.self, from: answer.body) {
            return .texts(end.texts)
        }
        let refused = try? decoder.decode(Refused.self, from: answer.body)
        var fact = refused?.error.message ?? "the answer is no server's of Apus"
        if let place = answer.redirection {
            fact = "it points to \(place), and a key goes nowhere that was not named"
        }
        if answer.status == 404 {
            fact += "; a server without a key marked admin: true has no such path"
        }
        return .other("answers \(answer.status): \(TaggedLog.plain(fact))")
    }

    /// Whether a URL's host is this machine, over no network.
    private static func isLoopback(_ host: String) -> Bool {
        ["localhost", "::1", "[::1]"].contains(host.lowercased())
            || host.wholeMatch(of: /127\.\d{1,3}\.\d{1,3}\.\d{1,3}/) != nil
    }
}
