import CFabric
import Glibc
import Topology

/// Measures the way to another node, before any rank is there: `LinkProbeListener` answers.
///
/// Latency by single bytes over TCP, rates by a connection that sends all it can for a moment, and
/// the size of packets by datagrams that no router may cut.
public struct LinkProbe: Sendable {
    /// What was found; forward is from this node.
    public struct Result: Sendable {
        /// The other node's address that answered.
        public var address: String
        /// This node's address on the way.
        public var localAddress: String
        /// The shortest time of a byte there and back, seconds.
        public var roundTripSeconds: Double?
        /// Bytes per second.
        public var forwardRate: Double?
        /// Bytes per second.
        public var backwardRate: Double?
        /// Packets of full size are lost while short ones arrive.
        public var isForwardStuck = false
        /// The same on the way back.
        public var isBackwardStuck = false
        /// The largest packet that arrives whole, bytes with its headers; nil when none does.
        public var forwardPacketBytes: Int?
        /// The same on the way back.
        public var backwardPacketBytes: Int?
    }

    /// What a connection does after the token.
    enum Work: UInt8 {
        /// The listener returns single bytes.
        case echo = 1
        /// The listener counts what comes.
        case take = 2
        /// The listener sends.
        case give = 3
    }

    private let token: [UInt8]
    private let port: Int
    private let local: NetworkEndpoint?

    /// How long a rate is measured: tens of round trips, and a thousand packets at 100 Mbit/s.
    static let floodSeconds = 0.3
    /// For a connection to open, where the network is there.
    private static let connectLimit = Duration.seconds(2)
    /// Longer than the kernel takes to send a lost packet `PathProbe.retransmissionLimit` times.
    static let stuckLimit = Duration.seconds(9)
    /// Bytes that go and come back one by one; the shortest time counts.
    private static let echoCount = 50

    /// A probe of listeners with a token.
    ///
    /// - Parameters:
    ///   - localAddress: The address of this node to leave by; nil leaves it to the kernel.
    /// - Throws: `unavailable` for an address that is none.
    public init(port: Int, token: String, localAddress: String?) throws(TransportError) {
        self.port = port
        self.token = LinkProbeListener.bytes(of: token)
        local = try localAddress.map { address throws(TransportError) in
            try NetworkEndpoint("\(address):0")
        }
    }

    /// Measures the way to the first of some addresses that answers.
    ///
    /// - Parameter packetSizes: Sizes to try, the largest first, bytes with their headers.
    /// - Throws: The last address's error.
    public func measure(
        _ addresses: [String], packetSizes: [Int]
    ) throws(TransportError) -> Result {
        var last = TransportError.unavailable("no address to connect to")
        for address in addresses.prefix(SocketAddresses.candidateLimit) {
            let endpoint = try NetworkEndpoint("\(address):\(port)")
            do throws(TransportError) {
                var result = try reach(address, endpoint)
                try give(to: endpoint, &result)
                try take(from: endpoint, &result)
                if let packets = PacketProbe(endpoint, token: token, local: local) {
                    result.forwardPacketBytes = packetSizes.first { packets.passes(forward: $0) }
                    result.backwardPacketBytes = packetSizes.first { packets.passes(backward: $0) }
                }
                return result
            } catch {
                last = error
            }
        }
        throw last
    }

    /// Measures the latency; its connection ends here, because one is served at a time.
    private func reach(
        _ address: String, _ endpoint: NetworkEndpoint
    ) throws(TransportError) -> Result {
        let socket = try open(endpoint, .echo)
        var result = Result(address: address, localAddress: try socket.localAddress().host)
        result.roundTripSeconds = try echo(over: socket)
        return result
    }

    /// Connects, shows the token, and says what the connection is for.
    private func open(
        _ endpoint: NetworkEndpoint, _ work: Work
    ) throws(TransportError) -> StreamSocket {
        let deadline = Deadline(Self.connectLimit, "probe")
        let socket = try StreamSocket(endpoint)
        if let local { try socket.leave(by: local) }
        try socket.beginConnecting(to: endpoint)
        guard try socket.wait(for: POLLOUT, deadline: deadline) else {
            throw .call(
                "connect to \(endpoint)", status: "no answer within \(Self.connectLimit)")
        }
        try socket.endConnecting(to: endpoint)
        do throws(TransportError) {
            try socket.sendAll(token + [work.rawValue], deadline: deadline)
            _ = try socket.receiveAll(1, deadline: deadline)
        } catch {
            throw .call("probe of \(endpoint)", status: "\(error)")
        }
        return socket
    }

    private func echo(over socket: StreamSocket) throws(TransportError) -> Double {
        let deadline = Deadline(.seconds(5), "probe")
        var shortest = UInt64.max
        for _ in 0 ..< Self.echoCount {
            let begin = deadline.clock.nanoseconds
            try socket.sendAll([1], deadline: deadline)
            _ = try socket.receiveAll(1, deadline: deadline)
            shortest = min(shortest, deadline.clock.nanoseconds - begin)
        }
        return Double(shortest) / 1e9
    }

    /// Sends for a moment; the other side says at what rate it came.
    private func give(
        to endpoint: NetworkEndpoint, _ result: inout Result
    ) throws(TransportError) {
        let socket = try open(endpoint, .take)
        guard try socket.flood(for: Self.floodSeconds) else {
            result.isForwardStuck = true
            return socket.reset()
        }
        Glibc.shutdown(socket.descriptor, Int32(SHUT_WR))
        let deadline = Deadline(Self.stuckLimit, "probe")
        while try !socket.wait(for: POLLIN, deadline: Deadline(.milliseconds(100), "probe")) {
            guard !socket.isStuck, !deadline.hasPassed else {
                result.isForwardStuck = true
                return socket.reset()
            }
        }
        let bytes = try socket.receiveAll(8, deadline: deadline)
        let rate = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        result.forwardRate = rate > 0 ? Double(rate) : nil
    }

    /// Takes what the other side sends for a moment.
    private func take(
        from endpoint: NetworkEndpoint, _ result: inout Result
    ) throws(TransportError) {
        let socket = try open(endpoint, .give)
        guard let rate = try socket.drainedRate() else {
            result.isBackwardStuck = true
            return
        }
        result.backwardRate = rate > 0 ? rate : nil
    }
}

extension StreamSocket {
    private static let zeros = [UInt8](repeating: 0, count: 256 << 10)

    /// Whether the kernel has sent the oldest packet without an answer too often.
    var isStuck: Bool {
        (state?.retransmissions ?? 0) >= PathProbe.retransmissionLimit
    }

    /// Has the end of the socket throw away what is under way, and tell the other side at once.
    func reset() {
        var now = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }

    /// Sends all that the connection takes, for a time.
    ///
    /// - Returns: False when packets are lost again and again.
    func flood(for seconds: Double) throws(TransportError) -> Bool {
        let whole = Deadline(.seconds(seconds), "probe")
        while !whole.hasPassed {
            switch send(Self.zeros[...]) {
            case .bytes: continue
            case .ended: throw .system("send")
            case .wouldBlock:
                _ = try wait(for: POLLOUT, deadline: Deadline(.milliseconds(50), "probe"))
            }
        }
        return !isStuck
    }

    /// Receives until the other side ends, or for twice the time that it sends.
    ///
    /// - Returns: Bytes per second from the first to the last; nil when nothing came.
    func drainedRate() throws(TransportError) -> Double? {
        let clock = FabricClock.system
        var limit = Deadline(LinkProbe.stuckLimit, "probe")
        var count = 0
        var first: UInt64?
        var last: UInt64 = 0
        var bytes: [UInt8] = []
        while !limit.hasPassed {
            bytes.removeAll(keepingCapacity: true)
            switch receive(into: &bytes, limit: 65_536) {
            case .bytes(let more):
                last = clock.nanoseconds
                if first == nil {
                    // The first bytes begin the time, and are not counted in it.
                    first = last
                    limit = Deadline(.seconds(2 * LinkProbe.floodSeconds), "probe")
                } else {
                    count += more
                }
            case .ended: return Self.rate(count, first, last)
            case .wouldBlock: _ = try wait(for: POLLIN, deadline: limit)
            }
        }
        return Self.rate(count, first, last)
    }

    private static func rate(_ count: Int, _ first: UInt64?, _ last: UInt64) -> Double? {
        guard let first else { return nil }
        return last > first ? Double(count) / Double(last - first) * 1e9 : 0
    }
}
