import Encoding
import Hummingbird
import HummingbirdCore
import NIOCore

/// `/admin/...`: what only an admin's key may ask.
extension OpenAIService {
    /// Seconds that a drain waits for texts when the operator does not say.
    private static let drainSeconds = 300
    /// Seconds of a trace when the operator does not say.
    private static let traceSeconds = 5
    /// A day: longer is a mistake of units.
    private static let longestDrain = 86400

    /// `POST /admin/drain`: new requests are refused from now on, and the end follows when no text
    /// is under way. With a rank, it alone leaves, and the answer comes when it has left.
    func drain(_ request: Request) async throws -> Response {
        try Self.checkNames(of: request, ["rank", "seconds"])
        if let word = request.uri.queryParameters["rank"] {
            return try await drain(rank: String(word), request)
        }
        let seconds = try Self.seconds(of: request, atMost: Self.longestDrain)
        beginDraining()
        operators.drain(within: seconds, otherwise: Self.drainSeconds, now: .now)
        return accepted("draining")
    }

    private func drain(rank word: String, _ request: Request) async throws -> Response {
        guard let rank = Int(word), rank >= 0 else {
            throw APIError.invalid(
                "rank is \(JSONValue.quoted(word)): it must be a whole number from 0",
                parameter: "rank")
        }
        guard request.uri.queryParameters["seconds"] == nil else {
            throw APIError.invalid(
                "seconds says when a job ends: a rank leaves as soon as the others have read its"
                    + " experts", parameter: "seconds")
        }
        try await router.drain(rank: rank)
        return .json(["status": "drained", "rank": .number(rank)])
    }

    /// `POST /admin/stop`: the end, as a signal brings it; with `now=true`, texts under way are not
    /// waited for.
    func stop(_ request: Request) throws(APIError) -> Response {
        try Self.checkNames(of: request, ["now"])
        let word = request.uri.queryParameters["now"].map(String.init) ?? "false"
        guard ["true", "false"].contains(word) else {
            throw .invalid(
                "now is \(JSONValue.quoted(word)): it must be true or false", parameter: "now")
        }
        beginDraining()
        operators.stop(now: word == "true")
        return accepted("stopping")
    }

    /// `POST /admin/trace`: what every rank does for some seconds, as one Chrome trace.
    func trace(_ request: Request, _ caller: Caller) async throws -> Response {
        try Self.checkNames(of: request, ["seconds"])
        let seconds = try Self.seconds(of: request, atMost: RankRecorder.longestSeconds)
        defer { connections.forget(caller.channel) }
        let trace = try await traces.run { [router] in
            try await router.trace(seconds: seconds ?? Self.traceSeconds).document()
        } started: { cancel in
            connections.onDisconnect(of: caller.channel, cancel)
        }
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: trace)))
    }

    /// Refuses what the path does not know: a slip in a name ends no job.
    private static func checkNames(
        of request: Request, _ names: [String]
    ) throws(APIError) {
        for (name, _) in request.uri.queryParameters where !names.contains(String(name)) {
            throw .invalid(
                "\(JSONValue.quoted(String(name.prefix(64)))) is no parameter of this path: it "
                    + "takes \(names.joined(separator: " and "))",
                parameter: String(name.prefix(64)), code: "unknown_parameter")
        }
    }

    /// What the query says of seconds.
    private static func seconds(
        of request: Request, atMost limit: Int
    ) throws(APIError) -> Int? {
        guard let word = request.uri.queryParameters["seconds"] else { return nil }
        guard let number = Int(word), (1 ... limit).contains(number) else {
            throw .invalid(
                "seconds is \(JSONValue.quoted(String(word))): it must be a whole number, 1 to "
                    + "\(limit)", parameter: "seconds")
        }
        return number
    }

    private func accepted(_ word: String) -> Response {
        .json(["status": .string(word), "texts": .number(permits.count)], status: .accepted)
    }
}
