import CFabric
import Glibc
import Topology

/// Finds out whether packets of full size reach the other ranks, before a step waits for one.
///
/// Where a device sends larger packets than the network carries and no router says so (a black hole
/// of path MTU discovery, RFC 2923), a connection opens, because its first packets are short, and
/// then stands still. Both sides of a new connection therefore send bytes that fill packets, and
/// answer the other side's with one byte. A rank that gets no answer asks its kernel how often it
/// sent the first of them.
final class PathProbe {
    /// More than the largest packets there are: 9000 bytes on Ethernet, 65520 on IPoIB.
    static let byteCount = 64 << 10
    /// Times that the kernel sends the same packet again before a probe gives up: some 6 s. A
    /// kernel that searches for a smaller size by itself (`tcp_mtu_probing`) finds it after the
    /// third.
    static let retransmissionLimit: UInt8 = 5

    private let connection: SocketHandshake.Connection
    /// The bytes that fill packets, and the answer.
    private var sent = 0
    private var received = 0

    private init(_ connection: SocketHandshake.Connection) { self.connection = connection }

    /// Returns when packets of full size passed on every connection in both directions.
    ///
    /// - Throws: `rankLost` with the device, the size of its packets and what may be done.
    static func run(
        _ connections: [SocketHandshake.Connection], deadline: Deadline
    ) throws(TransportError) {
        var probes = connections.map(PathProbe.init)
        while true {
            for probe in probes { try probe.step(deadline) }
            probes.removeAll(where: \.isOver)
            guard let first = probes.first else { return }
            guard !deadline.hasPassed else {
                throw .rankLost(
                    first.connection.remote, phase: deadline.description,
                    cause: "\(first.received) of \(byteCount) bytes came over"
                        + " \(first.connection.device) within \(deadline.limit)")
            }
            var entries = probes.map(\.entry)
            _ = unsafe poll(&entries, nfds_t(entries.count), 100)
        }
    }

    private static let total = byteCount + 1
    private static let bytes = [UInt8](repeating: 0, count: byteCount)

    private var isOver: Bool { sent == Self.total && received == Self.total }

    /// Bytes that may go now: the answer waits for the other side's bytes.
    private var sendable: Int { (received < Self.byteCount ? Self.byteCount : Self.total) - sent }

    private var entry: pollfd {
        pollfd(
            fd: connection.socket.descriptor,
            events: Int16(sendable > 0 ? POLLIN | POLLOUT : POLLIN), revents: 0)
    }

    private func step(_ deadline: Deadline) throws(TransportError) {
        var taken: [UInt8] = []
        loop: while received < Self.total {
            taken.removeAll(keepingCapacity: true)
            // Not a byte more: what follows is the rank's first put.
            switch connection.socket.receive(into: &taken, limit: Self.total - received) {
            case .bytes(let count): received += count
            case .wouldBlock: break loop
            case .ended: throw lost("it closed the connection", deadline)
            }
        }
        loop: while sendable > 0 {
            switch connection.socket.send(Self.bytes.prefix(sendable)) {
            case .bytes(let count): sent += count
            case .wouldBlock: break loop
            case .ended: throw lost("it closed the connection", deadline)
            }
        }
        guard !isOver, let state = connection.socket.state,
            state.retransmissions >= Self.retransmissionLimit
        else { return }
        throw lost(
            "packets of \(state.packetBytes) bytes do not reach it over \(connection.device): the"
                + " first was sent \(Int(state.retransmissions) + 1) times, and short ones arrived"
                + " (the network carries less than the MTU of the device: give every device of it"
                + " the same, ip link set \(connection.device) mtu 1500, or let the kernel search,"
                + " sysctl net.ipv4.tcp_mtu_probing=1)", deadline)
    }

    private func lost(_ cause: String, _ deadline: Deadline) -> TransportError {
        .rankLost(connection.remote, phase: deadline.description, cause: cause)
    }
}

extension StreamSocket {
    /// What the kernel knows of the connection.
    struct State {
        /// How often the oldest packet without an answer was sent again.
        var retransmissions: UInt8
        /// The size of a full packet, as the route's MTU says.
        var packetBytes: UInt32
    }

    /// Nil where the kernel does not say.
    var state: State? {
        var info = tcp_info()
        var length = socklen_t(MemoryLayout<tcp_info>.size)
        let status = unsafe getsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &length)
        guard status == 0 else { return nil }
        return State(retransmissions: info.tcpi_retransmits, packetBytes: info.tcpi_pmtu)
    }
}
