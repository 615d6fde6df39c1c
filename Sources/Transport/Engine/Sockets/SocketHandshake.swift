import Glibc
import Topology

/// Makes a rank's connections: it connects to the lower ranks, and accepts the higher ones.
///
/// Invariants:
/// 1. An unauthenticated connection costs 24 bytes and one of `pendingLimit` places, for `patience`
///    at most.
/// 2. Both sides show the other's key before a connection is used.
final class SocketHandshake {
    /// A connection that both sides have proved.
    struct Connection {
        let remote: Rank
        let plane: Int
        let device: String
        let socket: StreamSocket
    }

    private struct Place: Hashable {
        let remote: Rank
        let plane: Int
    }

    /// A connection whose other side has not shown our key yet.
    private struct PendingConnection {
        let socket: StreamSocket
        let until: UInt64
        var bytes: [UInt8] = []
    }

    /// Ranks come within a moment of each other, so that more at once are not ranks.
    private static let pendingLimit = 2 * FabricConfiguration.maximumRankCount
    /// How long a pending connection may take to show our key, and an address to accept one.
    static let patience: UInt64 = 2_000_000_000

    private let rank: Rank
    private let key: UInt64
    private let listeners: [SocketListener]
    private let addresses: [Rank: SocketAddresses]
    private var calls: [SocketConnector] = []
    private var pending: [PendingConnection] = []
    /// The higher ranks' connections that have not come.
    private var expected: Set<Place> = []
    private var made: [Connection] = []

    init(
        rank: Rank, key: UInt64, listeners: [SocketListener], _ addresses: [Rank: SocketAddresses]
    ) {
        self.rank = rank
        self.key = key
        self.listeners = listeners
        self.addresses = addresses
    }

    /// Returns when there is a connection to each rank for each plane that both have, in the order
    /// of ranks and planes, and full packets pass on it.
    func run(deadline: Deadline) throws(TransportError) -> [Connection] {
        let ours = NetworkAddress.all() + NetworkAddress.all(family: AF_INET6)
        for (remote, theirs) in addresses.sorted(by: { $0.key < $1.key }) {
            for plane in 0 ..< min(listeners.count, theirs.planes.count) {
                if remote > rank {
                    expected.insert(Place(remote: remote, plane: plane))
                    continue
                }
                let candidates = theirs.candidates(
                    plane: plane, from: NodeIdentity.current(), ours: ours.map(\.address))
                calls.append(
                    try SocketConnector(
                        remote, plane, candidates: candidates, greeting: greeting(theirs.key, plane)
                    ))
            }
        }
        while true {
            try call(deadline)
            for listener in listeners { accept(from: listener, deadline.clock) }
            readGreetings(deadline.clock)
            if calls.isEmpty, expected.isEmpty { break }
            if deadline.hasPassed { throw missing(deadline) }
            waitForEvents()
        }
        try PathProbe.run(
            made.filter { addresses[$0.remote]?.place != NodeIdentity.current() },
            deadline: deadline)
        return made.sorted { ($0.remote, $0.plane) < ($1.remote, $1.plane) }
    }

    private func greeting(_ key: UInt64, _ plane: Int) -> SocketGreeting {
        SocketGreeting(rank: UInt32(rank.rawValue), plane: UInt32(plane), key: key)
    }

    private func waitForEvents() {
        func entry(_ socket: StreamSocket, _ events: Int32 = POLLIN) -> pollfd {
            pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
        }
        var entries = listeners.flatMap { $0.sockets.map { entry($0) } }
        entries += pending.map { entry($0.socket) }
        for call in calls {
            if let socket = call.socket {
                entries.append(entry(socket, call.isConnected ? POLLIN : POLLOUT))
            }
        }
        _ = unsafe poll(&entries, nfds_t(entries.count), 20)
    }

    private func accept(from listener: SocketListener, _ clock: FabricClock) {
        for socket in listener.sockets {
            while pending.count < Self.pendingLimit, let accepted = socket.accept() {
                pending.append(
                    PendingConnection(socket: accepted, until: clock.nanoseconds + Self.patience))
            }
        }
    }

    /// Reads the greetings of pending connections; one that is not expected is closed unanswered.
    private func readGreetings(_ clock: FabricClock) {
        for index in pending.indices.reversed() {
            let missing = SocketGreeting.byteCount - pending[index].bytes.count
            switch pending[index].socket.receive(into: &pending[index].bytes, limit: missing) {
            case .bytes(let count) where count == missing:
                admit(pending.remove(at: index))
            case .ended: pending.remove(at: index)
            case .bytes, .wouldBlock:
                if clock.nanoseconds > pending[index].until { pending.remove(at: index) }
            }
        }
    }

    private func admit(_ connection: PendingConnection) {
        guard let said = try? SocketGreeting(decoding: connection.bytes), said.key == key else {
            return
        }
        let place = Place(remote: Rank(rawValue: Int(said.rank)), plane: Int(said.plane))
        guard expected.contains(place), let theirs = addresses[place.remote] else { return }
        // 24 bytes always fit into a new connection's buffer.
        let answer = greeting(theirs.key, place.plane).encoded()
        guard case .bytes(answer.count) = connection.socket.send(answer[...]) else { return }
        expected.remove(place)
        add(place.remote, place.plane, connection.socket)
    }

    private func call(_ deadline: Deadline) throws(TransportError) {
        for call in calls {
            guard let socket = try call.step(listeners[call.plane], key: key, deadline) else {
                continue
            }
            add(call.remote, call.plane, socket)
        }
        calls.removeAll(where: \.isOver)
    }

    private func add(_ remote: Rank, _ plane: Int, _ socket: StreamSocket) {
        let host = (try? socket.localAddress())?.host
        let routed = NetworkAddress.all() + NetworkAddress.all(family: AF_INET6)
        let device =
            listeners[plane].device ?? routed.first { $0.address == host }?.device ?? host ?? ""
        made.append(Connection(remote: remote, plane: plane, device: device, socket: socket))
    }

    private func missing(_ deadline: Deadline) -> TransportError {
        if let call = calls.first {
            return .rankLost(
                call.remote, phase: deadline.description,
                cause: "no way to it within \(deadline.limit): \(call.failures) "
                    + "(--device or APUS_DEVICES names the interface to use)")
        }
        return deadline.missed(by: expected.map(\.remote).min())
    }
}
