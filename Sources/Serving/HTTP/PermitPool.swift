import Synchronization

/// Counts texts under way, and refuses more than a limit.
final class PermitPool: Sendable {
    private struct State {
        var taken = 0
        var limit: Int
    }

    private let state: Mutex<State>
    private let subject: String
    private let setting: String

    /// - Parameters:
    ///   - subject: What is counted, for messages.
    ///   - setting: What the limit is called.
    init(limit: Int, of subject: String = "texts", _ setting: String = "api.limits.generations") {
        state = Mutex(State(limit: limit))
        self.subject = subject
        self.setting = setting
    }

    /// Texts under way.
    var count: Int { state.withLock { $0.taken } }

    /// Takes another limit; permits beyond it stay until they are returned.
    func limit(_ limit: Int) { state.withLock { $0.limit = limit } }

    /// Takes a permit for some texts; dropping the permit returns it.
    ///
    /// - Parameter room: Permits that stay for others.
    /// - Throws: 400 for more texts than can ever be under way, 429 for more than can be now.
    func acquire(_ count: Int, leaving room: Int = 0) throws(APIError) -> Permit {
        let (limit, taken, isFree) = state.withLock { state in
            let limit = state.limit - room
            guard state.taken + count <= limit else { return (limit, state.taken, false) }
            state.taken += count
            return (limit, state.taken, true)
        }
        guard count <= limit else {
            throw .invalid(
                "the request asks for \(count) \(subject): at most \(limit) are under way at once "
                    + "(\(setting))",
                parameter: "n")
        }
        guard isFree else {
            throw APIError(
                status: 429,
                message: "\(taken) \(subject) are under way: the limit is \(limit) (\(setting))",
                type: "rate_limit_error", code: "overloaded", retryAfterSeconds: 1)
        }
        return Permit(self, count)
    }

    fileprivate func release(_ count: Int) { state.withLock { $0.taken -= count } }
}

/// Allows the texts of one request; returned when it is dropped.
final class Permit: Sendable {
    private let pool: PermitPool
    private let count: Int

    fileprivate init(_ pool: PermitPool, _ count: Int) {
        self.pool = pool
        self.count = count
    }

    deinit { pool.release(count) }
}
