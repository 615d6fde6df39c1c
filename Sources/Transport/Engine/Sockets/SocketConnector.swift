import Glibc
import Topology

/// Calls one plane of a lower rank: tries its addresses in turn until one of them shows our key.
final class SocketConnector {
    let remote: Rank
    let plane: Int
    private let candidates: [NetworkEndpoint]
    private let greeting: SocketGreeting
    /// Addresses tried, from the first on and around.
    private var tried = 0
    private(set) var socket: StreamSocket?
    private(set) var isConnected = false
    private(set) var isOver = false
    private var until: UInt64 = 0
    private var answer: [UInt8] = []
    /// What became of each address.
    private var causes: [String: String] = [:]
    /// Addresses in a row where nobody listens any more.
    private var refusals = 0

    init(
        _ remote: Rank, _ plane: Int, candidates: [String], greeting: SocketGreeting
    ) throws(TransportError) {
        guard !candidates.isEmpty else {
            throw .rankLost(
                remote, phase: "join",
                cause: "its node has no address that leads there from this node "
                    + "(--device or APUS_DEVICES names the interface to use)")
        }
        self.remote = remote
        self.plane = plane
        var endpoints: [NetworkEndpoint] = []
        for candidate in candidates { endpoints.append(try NetworkEndpoint(candidate)) }
        self.candidates = endpoints
        self.greeting = greeting
    }

    /// Goes on as far as it can without waiting; returns the connection once it is proved.
    ///
    /// - Throws: `rankLost` when nobody listens at any address: the rank that offered them is gone.
    func step(
        _ listener: SocketListener, key: UInt64, _ deadline: Deadline
    ) throws(TransportError) -> StreamSocket? {
        do throws(TransportError) {
            guard let socket else {
                // After a round without luck, a pause.
                if tried > 0, tried % candidates.count == 0, deadline.clock.nanoseconds < until {
                    return nil
                }
                try begin(listener, deadline.clock)
                return nil
            }
            guard try advance(socket, key: key, deadline.clock) else { return nil }
            isOver = true
            return socket
        } catch {
            try fail(error, deadline)
            return nil
        }
    }

    private var endpoint: NetworkEndpoint { candidates[tried % candidates.count] }

    private func begin(
        _ listener: SocketListener, _ clock: FabricClock
    ) throws(TransportError) {
        until = clock.nanoseconds + SocketHandshake.patience
        isConnected = false
        answer = []
        socket = try listener.connect(to: endpoint)
    }

    /// True once the other side has shown our key.
    private func advance(
        _ socket: StreamSocket, key: UInt64, _ clock: FabricClock
    ) throws(TransportError) -> Bool {
        if !isConnected {
            guard try socket.wait(for: POLLOUT, deadline: Deadline(.zero, "join", clock: clock))
            else {
                guard clock.nanoseconds < until else {
                    throw .call("connect to \(endpoint)", status: "no answer within 2 s")
                }
                return false
            }
            try socket.endConnecting(to: endpoint)
            isConnected = true
            // From here on the remote may count on this connection, so it is not given up for
            // slowness: the remote has until the deadline of the join.
            let bytes = greeting.encoded()
            guard case .bytes(bytes.count) = socket.send(bytes[...]) else {
                throw .system("send to \(endpoint)")
            }
        }
        switch socket.receive(into: &answer, limit: SocketGreeting.byteCount - answer.count) {
        case .ended: throw .call("greeting \(endpoint)", status: "it closed the connection")
        case .bytes where answer.count == SocketGreeting.byteCount:
            let said = try SocketGreeting(decoding: answer)
            guard said.key == key, said.rank == UInt32(remote.rawValue), said.plane == UInt32(plane)
            else { throw .malformed(from: endpoint.text, "a greeting of another run") }
            return true
        case .bytes, .wouldBlock: return false
        }
    }

    private func fail(_ error: TransportError, _ deadline: Deadline) throws(TransportError) {
        if case .call(_, Self.refused) = error { refusals += 1 } else { refusals = 0 }
        causes[endpoint.text] = "\(error)"
        socket = nil
        tried += 1
        until = deadline.clock.nanoseconds + 50_000_000
        guard refusals < candidates.count else {
            throw .rankLost(remote, phase: deadline.description, cause: failures)
        }
    }

    private static let refused = unsafe String(cString: strerror(ECONNREFUSED))

    /// What became of the addresses, for the error that gives up on them.
    var failures: String {
        let said = causes.sorted { $0.key < $1.key }.map(\.value)
        return said.isEmpty ? "no answer from \(endpoint)" : said.joined(separator: "; ")
    }
}
