import Encoding
import Synchronization

/// Responses that clients read again or continue: in memory, those used last, up to a number of
/// bytes.
///
/// 1. A response is found by its id, which nobody can guess, and by callers with the key that made
///    it.
/// 2. All that is kept is text, which is what the limit counts: a tree takes many times its bytes.
/// 3. A response that is under way stays. Those under way have at most the limit's bytes together.
final class ResponseStore: Sendable {
    fileprivate struct Entry {
        /// Whose it is, as callers with different keys are told apart.
        let owner: String
        var response: String
        /// The conversation up to and with this response, as a list of a chat's turns.
        var turns: String
        var lastUse: UInt64
        /// Ends a response that is under way in the background.
        var cancel: (@Sendable () -> Void)?
        var isInBackground: Bool

        var bytes: Int { response.utf8.count + turns.utf8.count }
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
    ///
    /// - Throws: 400 for one that alone is beyond the limit, 429 where the others under way leave
    ///   no room.
    func begin(
        _ id: String, of owner: String, _ response: JSONValue, turns: [JSONValue],
        cancel: @escaping @Sendable () -> Void
    ) throws(APIError) {
        let entry = Entry(
            owner: owner, response: response.text, turns: JSONValue.array(turns).text, lastUse: 0,
            cancel: cancel, isInBackground: true)
        let room = "(api.limits.storedResponseBytes is \(limit))"
        guard entry.bytes <= limit else {
            throw .invalid(
                "the conversation has \(entry.bytes) bytes, more than are stored: it cannot go on "
                    + "in the background \(room)",
                parameter: "background")
        }
        let running = state.withLock { state in
            let running = state.entries.values.filter { $0.cancel != nil }
                .reduce(0) { $0 + $1.bytes }
            if running + entry.bytes <= limit { state.put(id, entry, within: limit) }
            return running
        }
        guard running + entry.bytes <= limit else {
            throw APIError(
                ServingError.overloaded(
                    message: "responses in the background have \(running) bytes \(room)",
                    retryAfterSeconds: 5))
        }
    }

    /// Keeps a response that has ended; one that is too large for the store is not kept, unless its
    /// client was told that it goes on in the background.
    ///
    /// A response in the background that was deleted meanwhile stays deleted.
    func end(
        _ id: String, of owner: String, _ response: JSONValue, turns: [JSONValue],
        inBackground: Bool
    ) {
        let entry = Entry(
            owner: owner, response: response.text, turns: JSONValue.array(turns).text, lastUse: 0,
            isInBackground: inBackground)
        state.withLock { state in
            guard inBackground ? state.entries[id] != nil : entry.bytes <= limit else { return }
            state.put(id, entry, within: limit)
        }
    }

    /// A response as it is, JSON text.
    func response(_ id: String, of owner: String) throws(APIError) -> String {
        try use(id, owner).response
    }

    /// Whether a response is under way in the background.
    func isUnderWay(_ id: String, of owner: String) throws(APIError) -> Bool {
        try use(id, owner).cancel != nil
    }

    /// The conversation that a response ended.
    ///
    /// - Throws: 404 for a response that is not here, 400 for one that is under way.
    func turns(of id: String, of owner: String) throws(APIError) -> [JSONValue] {
        let entry = try use(id, owner, "previous_response_id")
        guard entry.cancel == nil else {
            throw .invalid(
                "previous_response_id names \(JSONValue.quoted(id)), which is under way",
                parameter: "previous_response_id")
        }
        do { return try JSONValue.parse(entry.turns).array ?? [] } catch {
            throw APIError(
                status: 500, message: "a stored conversation is \(error)", type: "server_error")
        }
    }

    /// Ends a response in the background; without effect on one that has ended.
    ///
    /// - Throws: 400 for a response that was never in the background.
    func cancel(_ id: String, of owner: String) throws(APIError) {
        let entry = try use(id, owner)
        guard entry.isInBackground else {
            throw .invalid(
                "\(JSONValue.quoted(id)) is not in the background: closing its connection ends it")
        }
        entry.cancel?()
    }

    /// Forgets a response, and ends it if it is under way.
    func delete(_ id: String, of owner: String) throws(APIError) {
        let entry = try use(id, owner)
        state.withLock { $0.remove(id) }
        entry.cancel?()
    }

    private func use(
        _ id: String, _ owner: String, _ parameter: String? = nil
    ) throws(APIError) -> Entry {
        let entry = state.withLock { state -> Entry? in
            guard state.entries[id]?.owner == owner else { return nil }
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

    fileprivate mutating func put(_ id: String, _ entry: ResponseStore.Entry, within limit: Int) {
        remove(id)
        uses += 1
        entries[id] = entry
        entries[id]?.lastUse = uses
        bytes += entry.bytes
        guard bytes > limit else { return }
        // Those used longest ago go, to an eighth below the limit, so that this is done seldom.
        let ended = entries.filter { $0.key != id && $0.value.cancel == nil }
        for (other, _) in ended.sorted(by: { $0.value.lastUse < $1.value.lastUse }) {
            guard bytes > limit - limit / 8 else { return }
            remove(other)
        }
    }
}
