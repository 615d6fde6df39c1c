import Topology

/// Whether one remote rank lives, as the connections to it show.
///
/// Events and the time go in, and what a core must do comes out.
///
/// ```
///   absent --connected--> running --goodbye on every connection--> left
///                            |                                       |
///              silence, a fault, a connection's end      a connection's end
///                            v                                       v
///                      gone, and lost                     gone, and not lost
/// ```
///
/// Invariants:
/// 1. A rank has left only after its goodbye on every connection: bytes that it sent before may
///    still travel on another one.
/// 2. A rank that has left is never lost, however its connections end.
/// 3. A rank that is gone never comes back.
struct PeerLiveness: Equatable, Sendable {
    /// What a core must do.
    enum Action: Equatable {
        case none
        /// Note that the rank has left, because of `suspect` if it named one.
        case leave(suspect: Rank?)
        /// Give up on the rank without calling it lost: it has left.
        case abandon
        /// Give up on the rank, which is lost.
        case lose(cause: String)
    }

    private struct Connection: Equatable {
        var heard: UInt64
        var saidGoodbye = false
        var acknowledgedGoodbye = false
    }

    let rank: Rank
    private var connections: [Connection] = []
    /// Whether the rank said goodbye on every connection.
    private(set) var hasLeft = false
    /// Whether nothing goes to the rank any more, and nothing from it is taken.
    private(set) var isGone = false

    init(_ rank: Rank) { self.rank = rank }

    /// Whether the rank is connected and not gone.
    var isLive: Bool { !connections.isEmpty && !isGone }

    /// Whether the rank acknowledged our goodbye on every connection, or is gone.
    var hasAcknowledged: Bool { !isLive || connections.allSatisfy(\.acknowledgedGoodbye) }

    /// Adds a connection, with the next number from 0.
    mutating func connected(at now: UInt64) { connections.append(Connection(heard: now)) }

    /// Bytes came on a connection.
    mutating func heard(on connection: Int, at now: UInt64) {
        guard connections.indices.contains(connection) else { return }
        connections[connection].heard = now
    }

    /// The rank acknowledged our goodbye on a connection.
    mutating func acknowledged(on connection: Int) {
        guard connections.indices.contains(connection) else { return }
        connections[connection].acknowledgedGoodbye = true
    }

    /// The rank said goodbye on a connection.
    ///
    /// - Parameter suspect: The rank because of which it leaves, if it named one.
    mutating func saidGoodbye(on connection: Int, suspect: Rank?) -> Action {
        guard connections.indices.contains(connection), !isGone, !hasLeft else { return .none }
        connections[connection].saidGoodbye = true
        hasLeft = connections.allSatisfy(\.saidGoodbye)
        return hasLeft ? .leave(suspect: suspect) : .none
    }

    /// A connection ended, failed, or must end because of what came on it.
    mutating func ended(cause: String) -> Action {
        if isGone { return .none }
        isGone = true
        return hasLeft ? .abandon : .lose(cause: cause)
    }

    /// Time has passed: a rank that is silent on any connection for too long is lost.
    mutating func checked(at now: UInt64, limit: SilenceLimit) -> Action {
        guard isLive, !hasLeft,
            connections.contains(where: { limit.isExceeded(lastHeard: $0.heard, at: now) })
        else { return .none }
        return ended(cause: "silent for \(limit.description)")
    }

    /// Another part of this rank gave up on the rank.
    mutating func abandoned() { isGone = true }
}
