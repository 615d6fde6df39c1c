import CFabric
import Glibc

/// Owns a TCP socket; every call that can block takes a deadline.
///
/// Safe because the descriptor never changes, and the kernel orders calls on it.
final class StreamSocket: @unchecked Sendable {
    let descriptor: Int32

    init(adopting descriptor: Int32) { self.descriptor = descriptor }

    deinit { Glibc.close(descriptor) }

    /// Connects to one address, again and again while the other side is not up yet.
    static func connect(
        to endpoint: NetworkEndpoint, deadline: Deadline
    ) throws(TransportError) -> StreamSocket {
        try connect(toAny: [endpoint], deadline: deadline)
    }

    /// Connects, again and again while the other side is not up yet.
    ///
    /// - Parameter endpoints: Any of which may be the one where the other side listens.
    static func connect(
        toAny endpoints: [NetworkEndpoint], deadline: Deadline
    ) throws(TransportError) -> StreamSocket {
        while true {
            for endpoint in endpoints {
                do throws(TransportError) {
                    let socket = try StreamSocket(endpoint)
                    try socket.connectOnce(endpoint, deadline: deadline)
                    return socket
                } catch {
                    if deadline.hasPassed { throw error }
                }
            }
            deadline.clock.pause(20_000_000)
        }
    }

    /// A socket of an endpoint's family, which is not connected.
    convenience init(_ endpoint: NetworkEndpoint) throws(TransportError) {
        let kind =
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(Int32(endpoint.family), kind, 0)
        guard descriptor >= 0 else { throw .system("socket") }
        self.init(adopting: descriptor)
        set(IPPROTO_TCP, TCP_NODELAY)
    }

    private func set(_ level: Int, _ option: Int32) {
        var one: Int32 = 1
        _ = unsafe setsockopt(
            descriptor, Int32(level), option, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    private func connectOnce(
        _ endpoint: NetworkEndpoint, deadline: Deadline
    ) throws(TransportError) {
        try beginConnecting(to: endpoint)
        guard try wait(for: POLLOUT, deadline: deadline) else { throw deadline.missed(by: nil) }
        try endConnecting(to: endpoint)
    }

    /// Asks the other side; once the socket takes bytes, `endConnecting` says how it went.
    func beginConnecting(to endpoint: NetworkEndpoint) throws(TransportError) {
        let status = unsafe endpoint.withAddress { address, length in
            unsafe Glibc.connect(descriptor, address, length)
        }
        guard status == 0 || errno == EINPROGRESS else { throw .system("connect to \(endpoint)") }
    }

    func endConnecting(to endpoint: NetworkEndpoint) throws(TransportError) {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        guard error == 0 else {
            throw .call("connect to \(endpoint)", status: unsafe String(cString: strerror(error)))
        }
    }

    /// Has the socket leave by an address of this node.
    func leave(by endpoint: NetworkEndpoint) throws(TransportError) {
        let bound = unsafe endpoint.withAddress { address, length in
            unsafe bind(descriptor, address, length)
        }
        guard bound == 0 else { throw .system("bind to \(endpoint)") }
    }

    static func listen(on endpoint: NetworkEndpoint) throws(TransportError) -> StreamSocket {
        let socket = try StreamSocket(endpoint)
        socket.set(Int(SOL_SOCKET), SO_REUSEADDR)
        let bound = unsafe endpoint.withAddress { address, length in
            unsafe bind(socket.descriptor, address, length)
        }
        guard bound == 0 else { throw .system("bind to \(endpoint)") }
        guard Glibc.listen(socket.descriptor, 1024) == 0 else {
            throw .system("listen on \(endpoint)")
        }
        return socket
    }

    /// A connection that waits to be accepted, if there is one.
    func accept() -> StreamSocket? {
        let descriptor = fabric_accept(self.descriptor)
        guard descriptor >= 0 else { return nil }
        let socket = StreamSocket(adopting: descriptor)
        socket.set(IPPROTO_TCP, TCP_NODELAY)
        return socket
    }

    /// The port that the kernel chose for a listener on port 0.
    func localPort() throws(TransportError) -> UInt16 { try localAddress().port }

    /// The numeric address and the port of this end.
    func localAddress() throws(TransportError) -> (host: String, port: UInt16) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getsockname(descriptor, $0, &length)
            }
        }
        guard status == 0 else { throw .system("getsockname") }
        // The port lies at the same place in sockaddr_in and sockaddr_in6.
        let port = unsafe withUnsafeBytes(of: &storage) {
            unsafe UInt16($0[2]) << 8 | UInt16($0[3])
        }
        let host = unsafe withUnsafePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe numericHost($0)
            }
        }
        return (host ?? "", port)
    }

    /// False when the deadline passes first.
    func wait(for events: Int32, deadline: Deadline) throws(TransportError) -> Bool {
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let left = deadline.remainingNanoseconds / 1_000_000 + 1
            let count = unsafe poll(&entry, 1, Int32(clamping: left))
            if count > 0 { return true }
            guard count == 0 || errno == EINTR else { throw .system("poll") }
            if deadline.hasPassed { return false }
        }
    }

    enum Transfer {
        case bytes(Int)
        case wouldBlock
        case ended
    }

    /// Takes what has come, at most `limit` bytes, into the end of `bytes`.
    func receive(into bytes: inout [UInt8], limit: Int) -> Transfer {
        let chunk = min(limit, 65_536)
        guard chunk > 0 else { return .wouldBlock }
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: chunk))
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe recv(descriptor, buffer.baseAddress.map { unsafe $0 + start }, chunk, 0)
        }
        bytes.removeLast(chunk - max(count, 0))
        if count > 0 { return .bytes(count) }
        if count < 0, errno == EAGAIN || errno == EINTR { return .wouldBlock }
        return .ended
    }

    /// Gives what the socket takes now.
    func send(_ bytes: ArraySlice<UInt8>) -> Transfer {
        let count = unsafe bytes.withUnsafeBytes { buffer in
            unsafe Glibc.send(
                descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
        }
        if count >= 0 { return .bytes(count) }
        return errno == EAGAIN || errno == EINTR ? .wouldBlock : .ended
    }

    func sendAll(_ bytes: [UInt8], deadline: Deadline) throws(TransportError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            switch send(rest) {
            case .bytes(let count): rest = rest.dropFirst(count)
            case .ended: throw .system("send")
            case .wouldBlock:
                guard try wait(for: POLLOUT, deadline: deadline) else {
                    throw deadline.missed(by: nil)
                }
            }
        }
    }

    /// Exactly `count` bytes; memory grows with what arrives, not with what was announced.
    func receiveAll(_ count: Int, deadline: Deadline) throws(TransportError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            switch receive(into: &bytes, limit: count - bytes.count) {
            case .bytes: continue
            case .ended: throw .call("recv", status: "the other side closed the connection")
            case .wouldBlock:
                guard try wait(for: POLLIN, deadline: deadline) else {
                    throw deadline.missed(by: nil)
                }
            }
        }
        return bytes
    }
}
