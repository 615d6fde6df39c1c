import Encoding
import Language

/// One event of a stream.
struct StreamEvent: Sendable {
    /// The event's name, which some APIs write before its data.
    var name: String?
    var data: JSONValue
}

/// How one API writes the answer of a chat, whole or as a stream of events.
///
/// A stream is `begin`, for every text any number of `add` and one `finish`, then `end`; or
/// `failure` at any point.
protocol ChatDialect: Sendable {
    /// What the ids of calls begin with.
    var callPrefix: String { get }
    /// Whether `[DONE]` follows the last event of a stream that ended well.
    var writesDone: Bool { get }

    func whole(_ choices: [ChatChoice], _ cost: ChatCost) -> JSONValue
    mutating func begin(_ cost: ChatCost) -> [StreamEvent]
    /// - Parameter tokens: What the step brought, with scores where the request asked for them.
    mutating func add(
        _ deltas: [ChatAnswer.Delta], _ tokens: [ScoredToken], to index: Int, _ cost: ChatCost
    ) -> [StreamEvent]
    mutating func finish(_ choice: ChatChoice, _ cost: ChatCost) -> [StreamEvent]
    mutating func end(_ cost: ChatCost) -> [StreamEvent]
    mutating func failure(_ error: APIError) -> StreamEvent
}
