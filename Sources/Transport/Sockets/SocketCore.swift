import CFabric
import Glibc
import Topology

/// Carries puts over TCP by the kernel's sockets: a connection per pair of ranks and plane, from
/// staging into the socket, and from the socket into the window.
///
/// Invariants:
/// 1. A header is checked against key, rank, window and sequence before a byte is moved.
/// 2. Nobody is listened to after the join: every connection belongs to a rank that showed its key.
/// 3. A lost rank's operations are not waited for.
/// 4. Memory that a connection still reads or writes is held by it.
@safe final class SocketCore: EngineCore {
    let rank: Rank
    let rankCount: Int
    /// What others must show to put here.
    let key = UInt64.random(in: .min ... .max)
    let outside: EngineOutside
    /// By plane.
    private var listeners: [SocketListener]
    let epoll: Int32
    /// By number; nil after the connection was closed.
    private(set) var rails: [SocketRail?] = []
    var peers: [SocketPeer]
    var windows: [RegisteredWindow?] = []
    /// The plane on which the next long put begins.
    var turn = 0
    /// Whether a put may wait for more to travel with it.
    var isHolding = false

    init(
        rank: Rank, rankCount: Int, devices: [String], outside: EngineOutside
    ) throws(TransportError) {
        self.rank = rank
        self.rankCount = rankCount
        self.outside = outside
        peers = (0 ..< rankCount).map { SocketPeer(Rank(rawValue: $0)) }
        listeners = []
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw .system("epoll_create1") }
        for device in devices.isEmpty ? [nil] : devices.map(Optional.some) {
            listeners.append(try SocketListener(device: device))
        }
    }

    deinit { Glibc.close(epoll) }

    func address() throws(TransportError) -> [UInt8] {
        SocketAddresses(
            key: key, place: NodeIdentity.current(), planes: listeners.map(\.addresses)
        ).encoded()
    }

    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        var decoded: [Rank: SocketAddresses] = [:]
        for (peer, address) in addresses {
            let address = try SocketAddresses(decoding: address, from: peer)
            peers[peer.rawValue].key = address.key
            decoded[peer] = address
        }
        let meeting = SocketMeeting(rank: rank, key: key, listeners: listeners, decoded)
        for connection in try meeting.run(deadline: deadline) { try adopt(connection) }
        // Invariant 2.
        listeners.removeAll()
    }

    private func adopt(_ connection: SocketMeeting.Connection) throws(TransportError) {
        let rail = SocketRail(
            connection.peer, number: rails.count, socket: connection.socket,
            now: outside.clock.nanoseconds)
        rails.append(rail)
        peers[rail.peer.rawValue].rails.append(rail)
        peers[rail.peer.rawValue].devices.append(connection.device)
        try watch(rail, isNew: true)
    }

    func watch(_ rail: SocketRail, isNew: Bool = false) throws(TransportError) {
        var event = unsafe epoll_event()
        unsafe event.events = EPOLLIN.rawValue | (rail.waitsForRoom ? EPOLLOUT.rawValue : 0)
        unsafe event.data.u32 = UInt32(rail.number)
        let operation = isNew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
        guard unsafe epoll_ctl(epoll, operation, rail.socket.descriptor, &event) == 0 else {
            throw .system("epoll_ctl")
        }
    }

    func path(to rank: Rank) -> (path: Path, isFinal: Bool) {
        (.tcp(peers[rank.rawValue].devices.joined(separator: ",")), true)
    }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        while windows.count <= window.identifier { windows.append(nil) }
        windows[window.identifier] = window
        return []
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}

    func release(window: Int) { windows[window] = nil }

    var eventDescriptors: [Int32] { [epoll] }

    /// Whatever is ready stays ready until it is taken, so nothing is missed.
    func arm() -> Bool {
        _ = flushHeld()
        return true
    }

    var outstandingCount: Int { peers.reduce(0) { $0 + $1.outstanding } }

    var livePeers: [Rank] { peers.filter { !$0.rails.isEmpty }.map(\.rank) }

    var everybodyHeard: Bool { peers.allSatisfy { $0.rails.allSatisfy(\.hasFarewell) } }
}

// MARK: - Losing

extension SocketCore {
    /// A connection ended, or must.
    func end(_ peer: SocketPeer, cause: String) {
        abandon(peer.rank)
        // Who said good-bye may end its connection.
        if outside.losses.hasLeft(peer.rank) { return }
        outside.losses.add(peer.rank, cause: cause)
        outside.control.ring()
    }

    func abandon(_ rank: Rank) {
        let peer = peers[rank.rawValue]
        // Their sockets close, and leave epoll, as nobody holds them any more.
        for rail in peer.rails { rails[rail.number] = nil }
        peer.rails.removeAll()
        peer.outstanding = 0
        outside.control.ring()
    }

    func closeFailed() {}

    func closeAll() {
        for peer in peers { abandon(peer.rank) }
        listeners.removeAll()
    }

    func pulse(silence: UInt64, _ now: UInt64, _ trustedSince: UInt64) {
        for rail in rails.compactMap({ $0 }) {
            say(.heartbeat, on: rail)
            if outside.losses.hasLeft(rail.peer) { continue }
            let last = max(rail.heard, trustedSince)
            if now > last, now - last > silence, rails[rail.number] != nil {
                end(
                    peers[rail.peer.rawValue],
                    cause: "silent for \(Duration.nanoseconds(Int64(silence)))")
            }
        }
    }
}
