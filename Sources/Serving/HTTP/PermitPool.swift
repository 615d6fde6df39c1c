import Synchronization

/// Counts texts under way, and refuses more than a limit.
final class PermitPool: Sendable {
    private let taken = Mutex(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Texts under way.
    var count: Int { taken.withLock { $0 } }

    /// Takes a permit for some texts; dropping the permit returns it.
    ///
    /// - Parameter room: Permits that stay for others.
    /// - Throws: 400 for more texts than can ever be under way, 429 for more than can be now.
    func acquire(_ count: Int, leaving room: Int = 0) throws(APIError) -> Permit {
        let limit = limit - room
        guard count <= limit else {
            throw .invalid(
                "the request asks for \(count) texts: at most \(limit) are under way at once",
                parameter: "n")
        }
        let isFree = taken.withLock { taken in
            guard taken + count <= limit else { return false }
            taken += count
            return true
        }
        guard isFree else {
            throw APIError(
                status: 429, message: "\(self.count) texts are under way: the limit is \(limit)",
                type: "rate_limit_error", code: "overloaded", retryAfterSeconds: 1)
        }
        return Permit(self, count)
    }

    fileprivate func release(_ count: Int) { taken.withLock { $0 -= count } }
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
