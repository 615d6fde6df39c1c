import CFabric
import Glibc
import Topology

/// One connection to a rank, and what travels on it.
///
/// Touched only by the holder of the engine's lock.
@safe final class SocketRail {
    let remote: Rank
    /// Its place among the core's connections.
    let number: Int
    /// Its place among the connections to the rank.
    let plane: Int
    let socket: StreamSocket
    var queue = SendQueue()
    var incoming: PutStream
    /// Whether the queue waits until the socket takes more.
    var waitsForRoom = false

    init(_ remote: Rank, number: Int, plane: Int, socket: StreamSocket) {
        self.remote = remote
        self.number = number
        self.plane = plane
        self.socket = socket
        incoming = PutStream(rail: number)
        leavePacing()
    }

    /// Leaves BBR, which some systems default to, for the kernel's own default.
    ///
    /// BBR paces by a model of long paths with losses; between nodes of one network its timers cost
    /// half the rate: 60 MB both ways over an unshaped veth take 26 ms with it, 17 with cubic; on
    /// links shaped to 4 and 0.2 Gbit/s both reach the link's rate. A kernel without cubic keeps
    /// what it has.
    private func leavePacing() {
        var name = [UInt8](repeating: 0, count: 16)
        var length = socklen_t(name.count)
        let descriptor = socket.descriptor
        _ = unsafe getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length)
        guard name.starts(with: Array("bbr".utf8)) else { return }
        let wanted = Array("cubic".utf8)
        _ = unsafe setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_CONGESTION, wanted, socklen_t(wanted.count))
    }

    /// What one call may move: little enough that sending and receiving take turns, and what is
    /// under way stays in the cache. 60 MB both ways over a veth take 13 ms; 2 MiB at a time 15,
    /// 128 KiB at a time 16.
    static let callBytes = 512 << 10
    /// Vectors of one call: headers and bytes of up to 32 puts.
    private static let vectorCount = 64

    /// How a call on the socket went.
    enum Transfer {
        case moved(Int, isAll: Bool)
        case wouldBlock
        case ended
        case failed(String)
    }

    /// Gives the socket what comes next, as much as it takes.
    func send() -> Transfer {
        unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.vectorCount) {
            vectors in
            let (count, bytes) = unsafe queue.gather(into: vectors, limit: Self.callBytes)
            var message = unsafe msghdr()
            unsafe message.msg_iov = vectors.baseAddress
            unsafe message.msg_iovlen = count
            let sent = unsafe sendmsg(socket.descriptor, &message, Int32(MSG_NOSIGNAL))
            return outcome(sent, of: bytes)
        }
    }

    /// Receives what has come to where it goes.
    func receive() -> Transfer {
        unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
            let (count, bytes) = unsafe incoming.vectors(
                into: vectors, limit: Self.callBytes)
            let received = unsafe readv(socket.descriptor, vectors.baseAddress, Int32(count))
            return received == 0 ? .ended : outcome(received, of: bytes)
        }
    }

    private func outcome(_ moved: Int, of bytes: Int) -> Transfer {
        if moved >= 0 { return .moved(moved, isAll: moved == bytes) }
        if errno == EAGAIN || errno == EINTR { return .wouldBlock }
        return .failed(unsafe String(cString: strerror(errno)))
    }
}
