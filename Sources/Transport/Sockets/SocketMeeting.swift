import Glibc
import Topology

/// Where one plane of a rank can be reached during the join.
final class SocketListener {
    /// `host:port` of each address.
    let addresses: [String]
    let sockets: [StreamSocket]
    /// nil where the user named none: connections leave as the kernel routes them.
    let device: String?
    /// The address that connections of a named device leave by.
    private let host: String?

    /// Listens on the addresses of a device, or on all of this node.
    init(device: String?) throws(TransportError) {
        let all = NetworkAddress.all() + NetworkAddress.all(family: AF_INET6)
        let usable = all.filter { address in
            // Addresses of one link only say nothing without the name of that link.
            (device == nil || address.device == device) && !address.address.hasPrefix("fe80")
        }
        guard !usable.isEmpty else {
            throw .unavailable(
                "\(device.map { "device \($0)" } ?? "this node") has no IP address "
                    + "(ip address add; --device names another)")
        }
        var sockets: [StreamSocket] = []
        var addresses: [String] = []
        for address in usable.prefix(SocketAddresses.candidateLimit) {
            let host = Self.written(address.address)
            let socket = try StreamSocket.listen(on: try NetworkEndpoint("\(host):0"))
            addresses.append("\(host):\(try socket.localPort())")
            sockets.append(socket)
        }
        self.addresses = addresses
        self.sockets = sockets
        self.device = device
        host = device == nil ? nil : usable.first?.address
    }

    private static func written(_ host: String) -> String {
        host.contains(":") ? "[\(host)]" : host
    }

    /// A socket that begins to connect, from this plane.
    func connect(to endpoint: NetworkEndpoint) throws(TransportError) -> StreamSocket {
        let socket = try StreamSocket(endpoint)
        if let host {
            try socket.leave(by: try NetworkEndpoint("\(Self.written(host)):0"))
        }
        try socket.beginConnecting(to: endpoint)
        return socket
    }
}

/// Makes a rank's connections: to the lower ranks by itself, from the higher ones by waiting.
///
/// Invariants:
/// 1. A stranger costs 24 bytes and a place among `guestLimit`, for `patience` at most.
/// 2. Both sides show the other's key before the connection is anybody's.
final class SocketMeeting {
    /// A connection that both sides have proved.
    struct Connection {
        let peer: Rank
        let plane: Int
        let device: String
        let socket: StreamSocket
    }

    private struct Place: Hashable {
        let peer: Rank
        let plane: Int
    }

    /// Somebody who connected and has not said who it is.
    private struct Guest {
        let socket: StreamSocket
        let until: UInt64
        var bytes: [UInt8] = []
    }

    /// Ranks come within a moment of each other; more at once are strangers.
    private static let guestLimit = 2 * FabricConfiguration.maximumRankCount
    /// How long a guest may take to say who it is, and an address to take a connection.
    static let patience: UInt64 = 2_000_000_000

    private let rank: Rank
    private let key: UInt64
    private let listeners: [SocketListener]
    private let addresses: [Rank: SocketAddresses]
    private var calls: [SocketCall] = []
    private var guests: [Guest] = []
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
    /// of ranks and planes.
    func run(deadline: Deadline) throws(TransportError) -> [Connection] {
        let ours = NetworkAddress.all() + NetworkAddress.all(family: AF_INET6)
        for (peer, theirs) in addresses.sorted(by: { $0.key < $1.key }) {
            for plane in 0 ..< min(listeners.count, theirs.planes.count) {
                if peer > rank {
                    expected.insert(Place(peer: peer, plane: plane))
                    continue
                }
                let candidates = theirs.candidates(
                    plane: plane, from: NodeIdentity.current(), ours: ours.map(\.address))
                calls.append(
                    try SocketCall(
                        peer, plane, candidates: candidates, greeting: greeting(theirs.key, plane)))
            }
        }
        while true {
            try call(deadline)
            for listener in listeners { welcome(listener, deadline.clock) }
            hear(deadline.clock)
            if calls.isEmpty, expected.isEmpty { break }
            if deadline.hasPassed { throw missing(deadline) }
            waitForEvents()
        }
        return made.sorted { ($0.peer, $0.plane) < ($1.peer, $1.plane) }
    }

    private func greeting(_ key: UInt64, _ plane: Int) -> SocketGreeting {
        SocketGreeting(rank: UInt32(rank.rawValue), plane: UInt32(plane), key: key)
    }

    private func waitForEvents() {
        func entry(_ socket: StreamSocket, _ events: Int32 = POLLIN) -> pollfd {
            pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
        }
        var entries = listeners.flatMap { $0.sockets.map { entry($0) } }
        entries += guests.map { entry($0.socket) }
        for call in calls {
            if let socket = call.socket {
                entries.append(entry(socket, call.isConnected ? POLLIN : POLLOUT))
            }
        }
        _ = unsafe poll(&entries, nfds_t(entries.count), 20)
    }

    private func welcome(_ listener: SocketListener, _ clock: FabricClock) {
        for socket in listener.sockets {
            while guests.count < Self.guestLimit, let guest = socket.accept() {
                guests.append(Guest(socket: guest, until: clock.nanoseconds + Self.patience))
            }
        }
    }

    /// Reads what guests say; who is not expected goes without an answer.
    private func hear(_ clock: FabricClock) {
        for index in guests.indices.reversed() {
            let missing = SocketGreeting.byteCount - guests[index].bytes.count
            switch guests[index].socket.receive(into: &guests[index].bytes, limit: missing) {
            case .bytes(let count) where count == missing:
                admit(guests.remove(at: index))
            case .ended: guests.remove(at: index)
            case .bytes, .wouldBlock:
                if clock.nanoseconds > guests[index].until { guests.remove(at: index) }
            }
        }
    }

    private func admit(_ guest: Guest) {
        guard let said = try? SocketGreeting(decoding: guest.bytes), said.key == key else { return }
        let place = Place(peer: Rank(rawValue: Int(said.rank)), plane: Int(said.plane))
        guard expected.contains(place), let theirs = addresses[place.peer] else { return }
        // 24 bytes always fit into a new connection's buffer.
        let answer = greeting(theirs.key, place.plane).encoded()
        guard case .bytes(answer.count) = guest.socket.send(answer[...]) else { return }
        expected.remove(place)
        add(place.peer, place.plane, guest.socket)
    }

    private func call(_ deadline: Deadline) throws(TransportError) {
        for call in calls {
            guard let socket = try call.step(listeners[call.plane], key: key, deadline) else {
                continue
            }
            add(call.peer, call.plane, socket)
        }
        calls.removeAll(where: \.isOver)
    }

    private func add(_ peer: Rank, _ plane: Int, _ socket: StreamSocket) {
        let host = (try? socket.localAddress())?.host
        let routed = NetworkAddress.all() + NetworkAddress.all(family: AF_INET6)
        let device =
            listeners[plane].device ?? routed.first { $0.address == host }?.device ?? host ?? ""
        made.append(Connection(peer: peer, plane: plane, device: device, socket: socket))
    }

    private func missing(_ deadline: Deadline) -> TransportError {
        if let call = calls.first {
            return .rankLost(
                call.peer, phase: deadline.description,
                cause: "no way to it within \(deadline.limit): \(call.failures) "
                    + "(--device or APUS_DEVICES names the interface to use)")
        }
        return deadline.missed(by: expected.map(\.peer).min())
    }
}
