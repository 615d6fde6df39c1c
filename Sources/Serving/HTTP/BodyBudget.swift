import Synchronization

/// Counts the bytes of all request bodies that are held at once, and refuses more than a limit.
final class BodyBudget: Sendable {
    private struct State {
        var all = 0
        var perAddress: [String: Int] = [:]
        /// The most bytes since the heap was last given back.
        var most = 0
    }

    private let limits: ServiceLimits
    private let state = Mutex(State())

    init(_ limits: ServiceLimits) { self.limits = limits }

    /// Bytes that are held.
    var count: Int { state.withLock { $0.all } }

    /// An account for one body; dropping it frees its bytes.
    func account(for address: String) -> BodyAccount { BodyAccount(self, address) }

    /// - Throws: 429 for an address that holds too much, 503 where all together do.
    fileprivate func take(_ count: Int, for address: String) throws(APIError) {
        let error = state.withLock { state -> APIError? in
            let mine = state.perAddress[address, default: 0]
            guard mine + count <= limits.bodyBytesPerAddress else {
                return Self.refusal(
                    429, "request bodies of \(address)", mine + count,
                    limits.bodyBytesPerAddress, "bodyBytesPerAddress")
            }
            guard state.all + count <= limits.bodyBytesOfAll else {
                return Self.refusal(
                    503, "the request bodies of all clients", state.all + count,
                    limits.bodyBytesOfAll, "bodyBytesOfAll")
            }
            state.all += count
            state.perAddress[address] = mine + count
            state.most = max(state.most, state.all)
            return nil
        }
        if let error { throw error }
    }

    private static func refusal(
        _ status: Int, _ what: String, _ bytes: Int, _ limit: Int, _ name: String
    ) -> APIError {
        APIError(
            status: status,
            message: "\(what) hold \(bytes) bytes: the limit is \(limit) (api.limits.\(name))",
            type: status == 429 ? "rate_limit_error" : "server_error", code: "overloaded",
            retryAfterSeconds: 1)
    }

    fileprivate func free(_ count: Int, of address: String) {
        state.withLock { state in
            state.all -= count
            state.perAddress[address, default: count] -= count
            if state.perAddress[address] == 0 { state.perAddress[address] = nil }
        }
    }

    /// Whether large bodies came and went since this was last asked, so that the heap holds memory
    /// that nobody uses.
    func hasShrunk() -> Bool {
        state.withLock { state in
            guard state.most > Self.largeBytes, state.all < state.most / 2 else { return false }
            state.most = state.all
            return true
        }
    }

    /// Less than this is not worth the walk through the heap.
    private static let largeBytes = 4 << 20
}

/// The bytes of one body, freed when it is dropped.
final class BodyAccount: Sendable {
    private let budget: BodyBudget
    private let address: String
    private let taken = Mutex(0)

    fileprivate init(_ budget: BodyBudget, _ address: String) {
        self.budget = budget
        self.address = address
    }

    /// - Throws: What `BodyBudget` says of more bytes than its limits.
    func take(_ count: Int) throws(APIError) {
        try budget.take(count, for: address)
        taken.withLock { $0 += count }
    }

    deinit { budget.free(taken.withLock { $0 }, of: address) }
}
