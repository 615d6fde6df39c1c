/// Decides which connections stay open: a value that takes events and the time.
///
/// 1. At most `limits.all` connections are admitted, and `limits.perAddress` from one address.
/// 2. Where a limit is reached, a connection without a request gives its place to a new one: the
///    longest idle one of the address that is at its limit, or of the address with the most.
struct ConnectionLedger<ID: Hashable & Sendable>: Sendable {
    /// How many connections there may be.
    struct Limits: Hashable, Sendable {
        var all: Int
        var perAddress: Int

        /// The limits that a process can hold.
        ///
        /// A quarter of the places is never one address's, because others would wait until its
        /// connections are idle.
        ///
        /// - Parameter descriptors: Descriptors that connections may take.
        init(_ limits: ServiceLimits, descriptors: Int) {
            all = max(1, min(limits.connections, descriptors))
            perAddress = max(1, min(limits.connectionsPerAddress, all - all / 4))
        }

        init(all: Int, perAddress: Int) {
            self.all = all
            self.perAddress = perAddress
        }
    }

    /// What becomes of a new connection.
    enum Admission: Equatable, Sendable {
        /// It stays; another one is to be closed for it.
        case admitted(closing: ID?)
        /// It is refused for this reason.
        case refused(String)
    }

    private struct Entry {
        var address: String
        /// Requests that are read or answered.
        var requests = 0
        /// When the last request ended.
        var idleSince: ContinuousClock.Instant
    }

    private let limits: Limits
    private var entries: [ID: Entry] = [:]
    private var counts: [String: Int] = [:]

    init(_ limits: Limits) { self.limits = limits }

    /// Connections that are open.
    var count: Int { entries.count }

    mutating func open(
        _ id: ID, from address: String, now: ContinuousClock.Instant
    ) -> Admission {
        var closing: ID?
        if counts[address, default: 0] >= limits.perAddress {
            closing = longestIdle(of: address)
            guard closing != nil else {
                return .refused(
                    "\(address) has \(counts[address, default: 0]) connections open, each with a "
                        + "request: the limit is \(limits.perAddress) "
                        + "(api.limits.connectionsPerAddress, less where descriptors are few)")
            }
        } else if entries.count >= limits.all {
            closing = longestIdleOfMany()
            guard closing != nil else {
                return .refused(
                    "\(entries.count) connections are open, each with a request: the limit is "
                        + "\(limits.all) (api.limits.connections, less where descriptors are few)")
            }
        }
        if let closing { close(closing) }
        entries[id] = Entry(address: address, idleSince: now)
        counts[address, default: 0] += 1
        return .admitted(closing: closing)
    }

    mutating func close(_ id: ID) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        counts[entry.address, default: 1] -= 1
        if counts[entry.address] == 0 { counts[entry.address] = nil }
    }

    mutating func requestBegan(_ id: ID) { entries[id]?.requests += 1 }

    mutating func requestEnded(_ id: ID, now: ContinuousClock.Instant) {
        entries[id]?.requests -= 1
        entries[id]?.idleSince = now
    }

    private func longestIdle(of address: String) -> ID? {
        entries.filter { $0.value.address == address && $0.value.requests == 0 }
            .min { $0.value.idleSince < $1.value.idleSince }?.key
    }

    private func longestIdleOfMany() -> ID? {
        var idle: [String: Int] = [:]
        for entry in entries.values where entry.requests == 0 {
            idle[entry.address, default: 0] += 1
        }
        // The name decides between equals, so that the choice does not depend on hashing.
        let most = idle.max { ($0.value, $1.key) < ($1.value, $0.key) }
        return most.flatMap { longestIdle(of: $0.key) }
    }
}
