import CFabric
import Glibc
import Synchronization
import Topology

/// Answers probes of links: a TCP and a UDP socket on one port, and a thread that serves them.
///
/// Invariants:
/// 1. A connection that does not show the token within a second is closed, and costs its bytes.
/// 2. One connection is served at a time, for at most some seconds.
/// 3. A datagram without the token has no answer.
public final class LinkProbeListener: Sendable {
    /// The port of both sockets.
    public let port: Int
    private let thread: FabricThread
    private let server: Server

    /// Bytes of a token.
    static let tokenBytes = 32
    /// Tries to find a port that is free for TCP and UDP.
    private static let attempts = 8

    /// Listens on every address of this node, on any free port, until `close`.
    ///
    /// - Parameter token: What a probe must show; its first 32 bytes count.
    public init(token: String) throws(TransportError) {
        let server = try Self.server(Self.bytes(of: token))
        self.server = server
        port = Int(try server.listener.localPort())
        thread = try FabricThread("apus-probe") {
            while !server.isStopped.load(ordering: .acquiring) { server.step() }
        }
    }

    /// Stops; a probe that is under way ends within its own limits.
    public func close() {
        guard !server.isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        thread.join()
    }

    deinit { close() }

    private static func server(_ token: [UInt8]) throws(TransportError) -> Server {
        for _ in 0 ..< attempts {
            let listener = try StreamSocket.listen(on: try NetworkEndpoint("0.0.0.0:0"))
            let endpoint = try NetworkEndpoint("0.0.0.0:\(try listener.localPort())")
            guard let datagrams = DatagramSocket(family: AF_INET), datagrams.bind(to: endpoint)
            else { continue }
            return Server(listener, datagrams, token)
        }
        throw .unavailable("no port is free for TCP and UDP, of \(attempts) tried")
    }

    /// A token as it is sent: always as long, whatever was given.
    static func bytes(of token: String) -> [UInt8] {
        let bytes = Array(token.utf8.prefix(tokenBytes))
        return bytes + [UInt8](repeating: 0, count: tokenBytes - bytes.count)
    }
}

/// The sockets, which the listener's thread alone uses.
private final class Server: Sendable {
    let listener: StreamSocket
    let isStopped = Atomic<Bool>(false)
    private let datagrams: DatagramSocket
    private let token: [UInt8]

    /// How soon a listener that was closed notices.
    private static let pollMilliseconds: Int32 = 100
    /// For a connection to show the token.
    private static let tokenLimit = Duration.seconds(1)

    init(_ listener: StreamSocket, _ datagrams: consuming DatagramSocket, _ token: [UInt8]) {
        self.listener = listener
        self.datagrams = datagrams
        self.token = token
    }

    /// Waits a moment for a probe, and serves it.
    func step() {
        var entries = [
            pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: datagrams.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        guard unsafe poll(&entries, nfds_t(entries.count), Self.pollMilliseconds) > 0 else {
            return
        }
        if entries[1].revents != 0 { datagrams.answer(token: token) }
        guard entries[0].revents != 0, let socket = listener.accept() else { return }
        // The other end names what went wrong; here it is one connection that ends.
        do throws(TransportError) { try serve(socket) } catch { return }
    }

    private func serve(_ socket: StreamSocket) throws(TransportError) {
        let deadline = Deadline(Self.tokenLimit, "probe")
        let opening = try socket.receiveAll(token.count + 1, deadline: deadline)
        guard opening.starts(with: token), let work = LinkProbe.Work(rawValue: opening[token.count])
        else { return }
        try socket.sendAll([1], deadline: deadline)
        switch work {
        case .echo:
            let limit = Deadline(.seconds(5), "probe")
            while !limit.hasPassed {
                try socket.sendAll(try socket.receiveAll(1, deadline: limit), deadline: limit)
            }
        case .take:
            guard let rate = try socket.drainedRate() else { return }
            let value = UInt64(rate)
            try socket.sendAll(
                (0 ..< 8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) },
                deadline: Deadline(.seconds(1), "probe"))
        case .give:
            guard try socket.flood(for: LinkProbe.floodSeconds) else { return socket.reset() }
            Glibc.shutdown(socket.descriptor, Int32(SHUT_WR))
            // Closing at once would throw away what is under way.
            let limit = Deadline(LinkProbe.stuckLimit, "probe")
            var rest: [UInt8] = []
            while !limit.hasPassed {
                guard !socket.isStuck else { return socket.reset() }
                let isReady = try socket.wait(
                    for: POLLIN, deadline: Deadline(.milliseconds(100), "probe"))
                if isReady, case .ended = socket.receive(into: &rest, limit: 1) { return }
            }
        }
    }
}
