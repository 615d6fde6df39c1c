import CFabric
import Glibc

/// Datagrams that no router may cut, by which a probe finds the largest packet that passes.
///
/// A request is the token, the size of the packet that shall come back (two bytes, little-endian),
/// and zeros. The answer is the same beginning, then zeros. An answer that ends there says that the
/// other node's device takes no such packet.
struct PacketProbe: ~Copyable {
    /// Headers of IPv4 and UDP.
    static let headerBytes = 28
    /// The smallest packet of either kind: it holds the token and a size.
    static let smallest = headerBytes + LinkProbeListener.tokenBytes + 2
    /// Sizes below which a device of IPv4 cannot be.
    static let smallestAnswer = 128
    /// For a datagram to come back, and how often it is sent.
    private static let patience = Duration.milliseconds(150)
    private static let attempts = 3

    private let socket: DatagramSocket
    private let token: [UInt8]

    /// A probe of one listener; nil where datagrams cannot be sent to it.
    init?(_ endpoint: NetworkEndpoint, token: [UInt8], local: NetworkEndpoint?) {
        guard let socket = DatagramSocket(family: endpoint.family) else { return nil }
        if let local, !socket.bind(to: local) { return nil }
        guard socket.connect(to: endpoint) else { return nil }
        self.socket = socket
        self.token = token
    }

    /// Whether a packet of this size reaches the other node.
    func passes(forward size: Int) -> Bool { comesBack(sent: size, answer: Self.smallestAnswer) }

    /// Whether a packet of this size comes from the other node.
    func passes(backward size: Int) -> Bool { comesBack(sent: Self.smallestAnswer, answer: size) }

    private func comesBack(sent: Int, answer: Int) -> Bool {
        let size = max(Self.smallest, sent) - Self.headerBytes
        let beginning = token + [UInt8(answer & 255), UInt8(answer >> 8 & 255)]
        let request =
            beginning + [UInt8](repeating: 0, count: max(0, size - beginning.count))
        for _ in 0 ..< Self.attempts {
            // Larger than the device takes: the kernel refuses it at once.
            guard socket.send(request) else { return false }
            let deadline = Deadline(Self.patience, "probe")
            while !deadline.hasPassed {
                guard let bytes = socket.receive(deadline: deadline) else { break }
                // An answer to an earlier request names another size.
                guard bytes.starts(with: beginning) else { continue }
                return bytes.count + Self.headerBytes == answer
            }
        }
        return false
    }
}

/// Owns a UDP socket whose packets no router may cut.
///
/// Safe because the descriptor never changes, and the kernel orders calls on it.
@safe struct DatagramSocket: ~Copyable, @unchecked Sendable {
    let descriptor: Int32

    init?(family: Int32) {
        let kind =
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { return nil }
        // "Do not fragment" is set, and what the kernel believes of the way is not asked.
        var mode: Int32 = IP_PMTUDISC_PROBE
        _ = unsafe setsockopt(
            descriptor, Int32(IPPROTO_IP), IP_MTU_DISCOVER, &mode,
            socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    /// Takes an address of this node.
    func bind(to endpoint: NetworkEndpoint) -> Bool {
        unsafe endpoint.withAddress { address, length in
            unsafe Glibc.bind(descriptor, address, length)
        } == 0
    }

    /// Sends to one address alone from now on, and hears it alone.
    func connect(to endpoint: NetworkEndpoint) -> Bool {
        unsafe endpoint.withAddress { address, length in
            unsafe Glibc.connect(descriptor, address, length)
        } == 0
    }

    /// Sends one datagram; false when the kernel refuses it.
    func send(_ bytes: [UInt8]) -> Bool {
        unsafe bytes.withUnsafeBytes { buffer in
            unsafe Glibc.send(descriptor, buffer.baseAddress, buffer.count, 0)
        } == bytes.count
    }

    /// One datagram; nil when none comes in time.
    func receive(deadline: Deadline) -> [UInt8]? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let left = deadline.remainingNanoseconds / 1_000_000 + 1
        guard unsafe poll(&entry, 1, Int32(clamping: left)) > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0)
        }
        return count >= 0 ? Array(bytes.prefix(count)) : nil
    }

    /// Answers a datagram that is here with one of the size that it asks for.
    func answer(token: [UInt8]) {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var sender = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        unsafe withUnsafeMutablePointer(to: &sender) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let count = unsafe bytes.withUnsafeMutableBytes { buffer in
                    unsafe recvfrom(
                        descriptor, buffer.baseAddress, buffer.count, 0, address, &length)
                }
                guard count >= token.count + 2, bytes.starts(with: token) else { return }
                let beginning = bytes.prefix(token.count + 2)
                let size = Int(bytes[token.count]) | Int(bytes[token.count + 1]) << 8
                let padding = max(0, size - PacketProbe.headerBytes - beginning.count)
                let answer = beginning + [UInt8](repeating: 0, count: padding)
                for bytes in [answer, beginning] {
                    let sent = unsafe bytes.withUnsafeBytes { buffer in
                        unsafe sendto(
                            descriptor, buffer.baseAddress, buffer.count, 0, address, length)
                    }
                    // What the device does not take is answered without padding.
                    if sent == bytes.count { return }
                }
            }
        }
    }
}
