/// Which connections may be unauthenticated at a time: a value that says which one has to go.
///
/// A connection beyond the limit takes the place of an older one of the address that has the most:
/// of one that has not greeted, if there is any. A process that has the token greets at once and
/// ends its handshake within two round trips, so that its connection is never old for long.
///
/// Invariants:
/// 1. At most `limit` connections are pending, and at most `limitPerAddress` of one address.
struct PendingConnections<ID: Hashable> {
    private struct Entry {
        var id: ID
        var address: String
        var hasGreeted = false
    }

    private let limit: Int
    private let limitPerAddress: Int
    /// The oldest first.
    private var entries: [Entry] = []

    init(
        limit: Int = ControlProtocol.mostPendingConnections,
        limitPerAddress: Int = ControlProtocol.mostPendingPerAddress
    ) {
        self.limit = limit
        self.limitPerAddress = limitPerAddress
    }

    var count: Int { entries.count }

    /// Takes in a connection.
    ///
    /// - Returns: The connection that is to be closed in its stead, if one is.
    mutating func add(_ id: ID, from address: String) -> ID? {
        var evicted: ID?
        if entries.count(where: { $0.address == address }) >= limitPerAddress {
            evicted = evict(from: address)
        } else if entries.count >= limit {
            let counts = Dictionary(grouping: entries, by: \.address).mapValues(\.count)
            let most = entries.max { (counts[$0.address] ?? 0) < (counts[$1.address] ?? 0) }
            evicted = most.flatMap { evict(from: $0.address) }
        }
        entries.append(Entry(id: id, address: address))
        return evicted
    }

    /// A connection sent the greeting of a rank or an observer.
    mutating func greeted(_ id: ID) {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return }
        entries[index].hasGreeted = true
    }

    /// A connection proved that it has the token, or closed.
    mutating func remove(_ id: ID) { entries.removeAll { $0.id == id } }

    private mutating func evict(from address: String) -> ID? {
        let index =
            entries.firstIndex { $0.address == address && !$0.hasGreeted }
            ?? entries.firstIndex { $0.address == address }
        return index.map { entries.remove(at: $0).id }
    }
}
