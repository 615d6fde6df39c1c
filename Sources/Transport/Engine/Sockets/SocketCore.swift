import CFabric
import Glibc
import Topology

/// Carries puts over TCP by the kernel's sockets: a connection per pair of ranks and plane, from
/// staging into the socket, and from the socket into the window.
///
/// Invariants:
/// 1. A header is checked against key, rank, window and sequence before a byte is moved.
/// 2. Listening sockets close after the join: every connection belongs to a rank that showed its
///    key.
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
    var remotes: [SocketRank]
    var windows = WindowTable()
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
        remotes = (0 ..< rankCount).map { SocketRank(Rank(rawValue: $0)) }
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
        for (remote, address) in addresses {
            let address = try SocketAddresses(decoding: address, from: remote)
            remotes[remote.rawValue].key = address.key
            decoded[remote] = address
        }
        let handshake = SocketHandshake(rank: rank, key: key, listeners: listeners, decoded)
        for connection in try handshake.run(deadline: deadline) { try adopt(connection) }
        // Invariant 2.
        listeners.removeAll()
    }

    private func adopt(_ connection: SocketHandshake.Connection) throws(TransportError) {
        let remote = remotes[connection.remote.rawValue]
        let rail = SocketRail(
            connection.remote, number: rails.count, plane: remote.rails.count,
            socket: connection.socket)
        rails.append(rail)
        remote.rails.append(rail)
        remote.devices.append(connection.device)
        remote.liveness.connected(at: outside.clock.nanoseconds)
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
        (.tcp(remotes[rank.rawValue].devices.joined(separator: ",")), true)
    }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        windows.register(window)
        return []
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}

    func release(window: Int) { _ = windows.release(window) }

    var eventDescriptors: [Int32] { [epoll] }

    /// A ready descriptor stays ready until it is read, so no event is missed.
    func arm() -> Bool {
        _ = flushHeld()
        return true
    }

    var outstandingCount: Int { remotes.reduce(0) { $0 + $1.outstanding } }

    subscript(liveness rank: Rank) -> PeerLiveness {
        get { remotes[rank.rawValue].liveness }
        set { remotes[rank.rawValue].liveness = newValue }
    }

    func disconnect(_ rank: Rank) {
        let remote = remotes[rank.rawValue]
        // Their sockets close, and leave epoll, as nobody holds them any more.
        for rail in remote.rails { rails[rail.number] = nil }
        remote.rails.removeAll()
        remote.outstanding = 0
        outside.control.ring()
    }

    func closeFailed() {}

    func closeAll() {
        for remote in remotes { abandon(remote.rank) }
        listeners.removeAll()
    }
}
