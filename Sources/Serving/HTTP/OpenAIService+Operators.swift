import Encoding
import Hummingbird
import HummingbirdCore

/// `/admin/...`: what only an admin's key may ask.
extension OpenAIService {
    /// Seconds that a drain waits for texts when the operator does not say.
    private static let drainSeconds = 300
    /// A day: longer is a mistake of units.
    private static let longestDrain = 86400

    /// `POST /admin/drain`: new requests are refused from now on, and the end follows when no text
    /// is under way.
    func drain(_ request: Request) throws(APIError) -> Response {
        var seconds: Int?
        if let word = request.uri.queryParameters["seconds"] {
            guard let number = Int(word), (1 ... Self.longestDrain).contains(number) else {
                throw .invalid(
                    "seconds is \(JSONValue.quoted(String(word))): it must be a whole number, 1 to "
                        + "\(Self.longestDrain)", parameter: "seconds")
            }
            seconds = number
        }
        beginDraining()
        operators.drain(within: seconds, otherwise: Self.drainSeconds, now: .now)
        return accepted("draining")
    }

    /// `POST /admin/stop`: the end, as a signal brings it; with `now=true`, texts under way are not
    /// waited for.
    func stop(_ request: Request) throws(APIError) -> Response {
        let word = request.uri.queryParameters["now"].map(String.init) ?? "false"
        guard ["true", "false"].contains(word) else {
            throw .invalid(
                "now is \(JSONValue.quoted(word)): it must be true or false", parameter: "now")
        }
        beginDraining()
        operators.stop(now: word == "true")
        return accepted("stopping")
    }

    private func accepted(_ word: String) -> Response {
        .json(["status": .string(word), "texts": .number(permits.count)], status: .accepted)
    }
}
