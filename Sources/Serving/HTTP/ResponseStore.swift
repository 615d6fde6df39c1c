import Encoding
import Synchronization

/// Responses that clients read again or continue: in memory, those used last, up to a number of
/// bytes.
///
/// 1. Nothing is found but by an id that nobody can guess, so no client finds another's response.
/// 2. A response that is under way stays; the permits of texts bound how many there are.
final class ResponseStore: Sendable {
    fileprivate struct Entry {
        var response: JSONValue
        /// The conversation up to and with this response, as turns of a chat.
        var turns: [JSONValue]
        var bytes: Int
        var lastUse: UInt64
        /// Ends a response that is under way in the background.
        var cancel: (@Sendable () -> Void)?
        var isInBackground: Bool
    }

    fileprivate struct State {
        var entries: [String: Entry] = [:]
        var bytes = 0
        var uses: UInt64 = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    /// - Parameter bytes: Of JSON text that all responses and their conversations may have.
    init(bytes limit: Int) { self.limit = limit }

    /// Keeps a response that is under way in the background.
    func begin(
        _ id: String, _ response: JSONValue, turns: [JSONValue],
        cancel: @escaping @Sendable () -> Void
    ) {
        put(id, response, turns, cancel: cancel, isInBackground: true)
    }

    /// Keeps a response that has ended; one that is too large for the store is not kept.
    ///
    /// A response in the background that was deleted meanwhile stays deleted.
    func end(_ id: String, _ response: JSONValue, turns: [JSONValue], inBackground: Bool) {
        if inBackground, state.withLock({ $0.entries[id] == nil }) { return }
        put(id, response, turns, cancel: nil, isInBackground: inBackground)
    }

    private func put(
        _ id: String, _ response: JSONValue, _ turns: [JSONValue],
        cancel: (@Sendable () -> Void)?, isInBackground: Bool
    ) {
        let bytes = response.text.utf8.count + turns.reduce(0) { $0 + $1.text.utf8.count }
        state.withLock { state in
            state.remove(id)
            guard bytes <= limit || cancel != nil else { return }
            state.uses += 1
            state.entries[id] = Entry(
                response: response, turns: turns, bytes: bytes, lastUse: state.uses,
                cancel: cancel, isInBackground: isInBackground)
            state.bytes += bytes
            state.makeRoom(within: limit)
        }
    }

    /// A response as it is.
    func response(_ id: String) throws(APIError) -> JSONValue { try use(id).response }

    /// The conversation that a response ended.
    ///
    /// - Throws: 404 for a response that is not here, 400 for one that is under way.
    func turns(of id: String) throws(APIError) -> [JSONValue] {
        let entry = try use(id, "previous_response_id")
        guard entry.cancel == nil else {
            throw .invalid(
                "previous_response_id names \(JSONValue.quoted(id)), which is under way",
                parameter: "previous_response_id")
        }
        return entry.turns
    }

    /// Ends a response in the background; without effect on one that has ended.
    ///
    /// - Throws: 400 for a response that was never in the background.
    func cancel(_ id: String) throws(APIError) {
        let entry = try use(id)
        guard entry.isInBackground else {
            throw .invalid(
                "\(JSONValue.quoted(id)) is not in the background: closing its connection ends it")
        }
        entry.cancel?()
    }

    /// Forgets a response, and ends it if it is under way.
    func delete(_ id: String) throws(APIError) {
        let entry = try use(id)
        state.withLock { $0.remove(id) }
        entry.cancel?()
    }

    private func use(_ id: String, _ parameter: String? = nil) throws(APIError) -> Entry {
        let entry = state.withLock { state -> Entry? in
            state.uses += 1
            state.entries[id]?.lastUse = state.uses
            return state.entries[id]
        }
        guard let entry else {
            var error = APIError.notFound(
                "there is no response \(JSONValue.quoted(String(id.prefix(128)))): it was never "
                    + "here, was deleted, or gave way to later ones "
                    + "(api.limits.storedResponseBytes is \(limit))",
                code: "response_not_found")
            error.parameter = parameter
            throw error
        }
        return entry
    }
}

extension ResponseStore.State {
    fileprivate mutating func remove(_ id: String) {
        if let old = entries.removeValue(forKey: id) { bytes -= old.bytes }
    }

    /// Forgets those used longest ago, to an eighth below the limit, so that this is done seldom.
    fileprivate mutating func makeRoom(within limit: Int) {
        guard bytes > limit else { return }
        let ended = entries.filter { $0.value.cancel == nil }
        for (id, _) in ended.sorted(by: { $0.value.lastUse < $1.value.lastUse }) {
            guard bytes > limit - limit / 8, entries.count > 1 else { return }
            remove(id)
        }
    }
}
