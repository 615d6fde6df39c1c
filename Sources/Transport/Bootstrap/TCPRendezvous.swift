import CFabric
import Glibc
import Synchronization
import Topology

/// Where the ranks of a run meet over TCP: gathers a blob of each and sends all to everybody.
///
/// Invariants:
/// 1. A connection that has not proved that it has the token gets a fixed-size buffer, a short
///    time, and one of a few places.
/// 2. A frame longer than its limit ends its connection before it is stored.
public final class TCPRendezvous: Sendable {
    /// `host:port` for the ranks, with the port that was really taken.
    public let address: String
    /// Why other nodes do not come, if the name of the address is the reason.
    let loopbackHint: String?
    private let thread: FabricThread
    private let wake: Int32
    private let isStopped = Atomic<Bool>(false)

    /// Listens, and serves until `close`.
    ///
    /// - Parameter address: Where to listen, `host:port`; port 0 takes a free one.
    /// - Throws: `call("bind to ...")` when the port is taken.
    public init(address: String, rankCount: Int, token: String) throws(TransportError) {
        let endpoint = try NetworkEndpoint(address)
        let listener = try StreamSocket.listen(on: endpoint)
        self.address = endpoint.text(port: try listener.localPort())
        loopbackHint = endpoint.loopbackHint
        let wake = fabric_eventfd()
        guard wake >= 0 else { throw .system("eventfd") }
        self.wake = wake
        let server = RendezvousServer(
            listener: listener, wake: wake, rankCount: rankCount,
            token: try RendezvousToken(token))
        thread = try FabricThread("apus-rendezvous") { [server] in
            var server = server
            server.run()
        }
    }

    /// Stops serving; ranks that still gather have a second to finish.
    public func close() {
        guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        fabric_eventfd_ring(wake)
        thread.join()
        Glibc.close(wake)
    }

    deinit { close() }
}

/// The server's state, used by its thread alone.
private struct RendezvousServer: Sendable {
    struct Connection: Sendable {
        let socket: StreamSocket
        let opened: UInt64
        let greeting = RendezvousGreeting()
        var rank: Int?
        var input: [UInt8] = []
        var output: [UInt8] = []
        var isClosing = false
    }

    struct Round: Sendable {
        var label: String
        var blobs: [Int: [UInt8]] = [:]
        var deadlines: [Int: UInt64] = [:]
    }

    let listener: StreamSocket
    let wake: Int32
    let rankCount: Int
    let token: RendezvousToken
    var connections: [Int: Connection] = [:]
    var nextConnection = 0
    var rounds: [UInt64: Round] = [:]
    var left: [Int] = []

    /// Time to send 80 bytes.
    static let authenticationTime: UInt64 = 5_000_000_000
    /// Time for ranks that still wait for an answer when the owner closes.
    static let drainTime: UInt64 = 1_000_000_000
    /// Unauthenticated connections that may wait at once.
    static let unauthenticatedLimit = 64

    init(listener: StreamSocket, wake: Int32, rankCount: Int, token: RendezvousToken) {
        self.listener = listener
        self.wake = wake
        self.rankCount = rankCount
        self.token = token
    }

    mutating func run() {
        var end: UInt64?
        while true {
            if let end,
                FabricClock.system.nanoseconds > end
                    || !connections.values.contains(where: { $0.rank != nil })
            {
                return
            }
            let order = connections.keys.sorted()
            let accepts = hasPlace ? POLLIN : 0
            var entries = [
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
                pollfd(fd: listener.descriptor, events: Int16(accepts), revents: 0),
            ]
            for key in order {
                guard let connection = connections[key] else { continue }
                let events = connection.output.isEmpty ? POLLIN : POLLIN | POLLOUT
                entries.append(
                    pollfd(
                        fd: connection.socket.descriptor, events: Int16(events), revents: 0))
            }
            _ = unsafe poll(&entries, nfds_t(entries.count), 50)
            if entries[0].revents != 0 {
                fabric_eventfd_clear(wake)
                end = FabricClock.system.nanoseconds + Self.drainTime
            }
            if entries[1].revents != 0 { acceptOne() }
            for (key, entry) in zip(order, entries.dropFirst(2)) where entry.revents != 0 {
                serve(key)
            }
            expire(at: FabricClock.system.nanoseconds)
        }
    }

    /// Whether another connection may come; until then it waits in the backlog. All ranks of a
    /// large job may come at once, and one that was refused would not come again.
    private var hasPlace: Bool {
        connections.values.count { $0.rank == nil } < Self.unauthenticatedLimit
    }

    private mutating func acceptOne() {
        guard let socket = listener.accept() else { return }
        var connection = Connection(socket: socket, opened: FabricClock.system.nanoseconds)
        connection.output = connection.greeting.encoded()
        connections[nextConnection] = connection
        flush(nextConnection)
        nextConnection += 1
    }

    private mutating func serve(_ key: Int) {
        guard var connection = connections[key] else { return }
        let limit =
            connection.rank == nil
            ? JoinRequest.byteCount
            : RendezvousFrame.headerBytes + RendezvousFrame.limit(rankCount: 1)
        let transfer = connection.socket.receive(
            into: &connection.input, limit: limit - connection.input.count)
        connections[key] = connection
        if case .ended = transfer { return drop(key) }
        do throws(TransportError) {
            while try consumeOne(key) {}
        } catch {
            reply(key, .refused("\(error)"))
            connections[key]?.isClosing = true
        }
        flush(key)
    }

    /// Takes one message from a connection's input; false when none is whole.
    private mutating func consumeOne(_ key: Int) throws(TransportError) -> Bool {
        guard let connection = connections[key], !connection.isClosing else { return false }
        guard let rank = connection.rank else {
            guard connection.input.count >= JoinRequest.byteCount else { return false }
            let request = try JoinRequest(
                decoding: connection.input, expecting: token, greeting: connection.greeting,
                rankCount: rankCount)
            guard !connections.values.contains(where: { $0.rank == Int(request.rank) }) else {
                throw .refused("rank \(request.rank) has joined already")
            }
            connections[key]?.rank = Int(request.rank)
            connections[key]?.input = []
            reply(key, .welcome(proof: request.welcomeProof(token, connection.greeting)))
            return true
        }
        let source = "rank \(rank)"
        guard connection.input.count >= RendezvousFrame.headerBytes else { return false }
        let (kind, count) = try RendezvousFrame.header(
            Array(connection.input.prefix(RendezvousFrame.headerBytes)), from: source,
            limit: RendezvousFrame.limit(rankCount: 1))
        let end = RendezvousFrame.headerBytes + count
        guard connection.input.count >= end else { return false }
        let frame = try RendezvousFrame(
            kind: kind, body: connection.input[RendezvousFrame.headerBytes ..< end], from: source,
            rankCount: rankCount)
        connections[key]?.input.removeFirst(end)
        try apply(frame, from: rank, key)
        return true
    }

    private mutating func apply(
        _ frame: RendezvousFrame, from rank: Int, _ key: Int
    ) throws(TransportError) {
        switch frame {
        case .offer(let number, let label, let milliseconds, let blob):
            var round = rounds[number] ?? Round(label: label)
            guard round.label == label else {
                let other = round.blobs.keys.min() ?? 0
                reply(
                    key,
                    .disagreement(rank: UInt32(other), theirs: round.label, ours: label))
                return
            }
            round.blobs[rank] = blob
            let wait = min(milliseconds, 86_400_000) * 1_000_000
            round.deadlines[rank] = FabricClock.system.nanoseconds + wait
            rounds[number] = round
            if round.blobs.count == rankCount {
                let all = RendezvousFrame.all(
                    round: number, blobs: (0 ..< rankCount).compactMap { round.blobs[$0] })
                for key in connections.keys where connections[key]?.rank != nil {
                    reply(key, all)
                    flush(key)
                }
                rounds[number] = nil
            } else if let gone = left.first(where: { round.blobs[$0] == nil }) {
                reply(key, .missing(rank: UInt32(gone), left: true))
            }
        case .leave:
            left.append(rank)
            connections[key]?.isClosing = true
        default: throw .malformed(from: "rank \(rank)", "a frame that only a rendezvous sends")
        }
    }

    /// Forgets a connection; ranks that wait for its rank are told.
    private mutating func drop(_ key: Int) {
        guard let rank = connections.removeValue(forKey: key)?.rank else { return }
        left.append(rank)
        for round in rounds.values where round.blobs[rank] == nil {
            for other in round.blobs.keys.sorted() {
                send(other, .missing(rank: UInt32(rank), left: true))
            }
        }
    }

    /// Answers ranks whose time is over with the first rank that has not come.
    private mutating func expire(at now: UInt64) {
        for (number, round) in rounds {
            guard let missing = (0 ..< rankCount).first(where: { round.blobs[$0] == nil }) else {
                continue
            }
            for (rank, deadline) in round.deadlines where now >= deadline {
                send(rank, .missing(rank: UInt32(missing), left: false))
                rounds[number]?.deadlines[rank] = nil
            }
        }
        for (key, connection) in connections {
            let isLate = connection.rank == nil && now - connection.opened > Self.authenticationTime
            if isLate || (connection.isClosing && connection.output.isEmpty) { drop(key) }
        }
    }

    private mutating func send(_ rank: Int, _ frame: RendezvousFrame) {
        guard let key = connections.first(where: { $0.value.rank == rank })?.key else { return }
        reply(key, frame)
        flush(key)
    }

    private mutating func reply(_ key: Int, _ frame: RendezvousFrame) {
        connections[key]?.output += frame.encoded()
    }

    private mutating func flush(_ key: Int) {
        guard let connection = connections[key], !connection.output.isEmpty else { return }
        switch connection.socket.send(connection.output[...]) {
        case .bytes(let count): connections[key]?.output.removeFirst(count)
        case .wouldBlock: return
        case .ended: connections[key]?.output = []
        }
    }
}
