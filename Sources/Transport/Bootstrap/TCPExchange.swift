import Glibc
import Synchronization
public import Topology

/// A rank's connection to a `TCPRendezvous`.
public final class TCPExchange: AddressExchange {
    /// This rank.
    public let rank: Rank
    /// How many ranks meet.
    public let rankCount: Int
    private let socket: StreamSocket
    /// Rank 0 serves the meeting where nobody else does.
    private let rendezvous: TCPRendezvous?
    /// The rank that serves the meeting, where one does.
    private let server: Rank?
    private let round = Mutex<UInt64>(0)
    private let isClosed = Atomic<Bool>(false)

    private init(
        rank: Rank, rankCount: Int, socket: StreamSocket, rendezvous: TCPRendezvous?,
        server: Rank?
    ) {
        self.rank = rank
        self.rankCount = rankCount
        self.socket = socket
        self.rendezvous = rendezvous
        self.server = server
    }

    /// Joins a run without a server of its own: rank 0 listens at the address, all connect to it.
    public static func join(
        rendezvous address: String, rank: Rank, rankCount: Int, token: String, deadline: Deadline
    ) throws(TransportError) -> TCPExchange {
        let rendezvous =
            rank == 0
            ? try TCPRendezvous(address: address, rankCount: rankCount, token: token) : nil
        return try connect(
            to: rendezvous?.address ?? address, rank: rank, rankCount: rankCount, token: token,
            serving: rendezvous, server: 0, deadline: deadline)
    }

    /// Joins a rendezvous that somebody serves.
    public static func connect(
        to address: String, rank: Rank, rankCount: Int, token: String, deadline: Deadline
    ) throws(TransportError) -> TCPExchange {
        try connect(
            to: address, rank: rank, rankCount: rankCount, token: token, serving: nil,
            server: nil, deadline: deadline)
    }

    private static func connect(
        to address: String, rank: Rank, rankCount: Int, token: String,
        serving rendezvous: TCPRendezvous?, server: Rank?, deadline: Deadline
    ) throws(TransportError) -> TCPExchange {
        let token = try RendezvousToken(token)
        let endpoints = try NetworkEndpoint.resolve(address)
        let socket: StreamSocket
        do throws(TransportError) {
            socket = try StreamSocket.connect(toAny: endpoints, deadline: deadline)
        } catch {
            throw error.advising(
                "rank 0 listens at \(endpoints[0].number), as \(address) is called here; where"
                    + " its own /etc/hosts says 127.0.1.1 for that name, APUS_RENDEZVOUS names an"
                    + " address of the network")
        }
        let exchange = TCPExchange(
            rank: rank, rankCount: rankCount, socket: socket, rendezvous: rendezvous,
            server: server)
        let greeting = try exchange.greeting(deadline: deadline)
        let request = JoinRequest(
            rank: rank, rankCount: rankCount, token: token, greeting: greeting)
        try exchange.send(request.encoded(), deadline: deadline)
        switch try exchange.receive(deadline: deadline) {
        case .welcome(let proof):
            guard proof == request.welcomeProof(token, greeting) else {
                throw .refused("\(address): what serves there did not prove that it has the token")
            }
            return exchange
        case .refused(let reason): throw .refused("\(address): \(reason)")
        default: throw .malformed(from: address, "no answer to a join request")
        }
    }

    /// Names the rank that serves the rendezvous where the connection to it ends or is silent.
    private func namingServer<Value>(
        _ deadline: Deadline, _ work: () throws(TransportError) -> Value
    ) throws(TransportError) -> Value {
        do throws(TransportError) {
            return try work()
        } catch {
            guard let server, server != rank else { throw error }
            switch error {
            case .call(_, let status):
                throw .rankLost(server, phase: deadline.description, cause: status)
            case .deadline(nil, _, _): throw deadline.missed(by: server)
            default: throw error
            }
        }
    }

    private func send(_ bytes: [UInt8], deadline: Deadline) throws(TransportError) {
        try namingServer(deadline) { () throws(TransportError) in
            try socket.sendAll(bytes, deadline: deadline)
        }
    }

    /// What a rendezvous says first.
    private func greeting(deadline: Deadline) throws(TransportError) -> RendezvousGreeting {
        try namingServer(deadline) { () throws(TransportError) in
            let bytes = try socket.receiveAll(RendezvousGreeting.byteCount, deadline: deadline)
            return try RendezvousGreeting(decoding: bytes, from: "the rendezvous")
        }
    }

    private func receive(deadline: Deadline) throws(TransportError) -> RendezvousFrame {
        try namingServer(deadline) { () throws(TransportError) in
            try receiveFrame(deadline: deadline)
        }
    }

    private func receiveFrame(deadline: Deadline) throws(TransportError) -> RendezvousFrame {
        let header = try socket.receiveAll(RendezvousFrame.headerBytes, deadline: deadline)
        let (kind, count) = try RendezvousFrame.header(
            header, from: "the rendezvous", limit: RendezvousFrame.limit(rankCount: rankCount))
        let body = try socket.receiveAll(count, deadline: deadline)
        return try RendezvousFrame(
            kind: kind, body: body[...], from: "the rendezvous", rankCount: rankCount)
    }

    /// Gives every rank the blobs of all, in rank order.
    public func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        if isClosed.load(ordering: .acquiring) { throw .closed }
        guard blob.count <= ExchangeLimit.blobBytes else {
            throw .limit(
                "blob bytes of \(label)", value: blob.count, limit: ExchangeLimit.blobBytes,
                origin: "ExchangeLimit.blobBytes")
        }
        let number = round.withLock { round in
            defer { round += 1 }
            return round
        }
        let offer = RendezvousFrame.offer(
            round: number, label: label,
            milliseconds: deadline.remainingNanoseconds / 1_000_000, blob: blob)
        try send(offer.encoded(), deadline: deadline)
        // The rendezvous knows who is missing; a moment more lets its answer come.
        let patience = deadline.later(by: .milliseconds(500))
        while true {
            switch try receive(deadline: patience) {
            case .all(number, let blobs): return blobs
            case .all, .welcome: continue
            case .missing(let rank, left: true):
                throw .rankLost(
                    Rank(rawValue: Int(rank)), phase: deadline.description,
                    cause: "its connection to the rendezvous ended")
            case .missing(let rank, left: false):
                let error = deadline.missed(by: Rank(rawValue: Int(rank)))
                throw rendezvous?.loopbackHint.map(error.advising) ?? error
            case .disagreement(let rank, let theirs, let ours):
                throw .disagreement(
                    Rank(rawValue: Int(rank)), subject: "an exchange of", theirs: theirs,
                    ours: ours)
            case .refused(let reason): throw .refused(reason)
            case .offer, .leave:
                throw .malformed(from: "the rendezvous", "a frame that only ranks send")
            }
        }
    }

    /// Leaves the meeting. Where this rank serves it, waits up to a second for the others to leave.
    public func close() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        _ = socket.send(RendezvousFrame.leave.encoded()[...])
        rendezvous?.close()
    }

    deinit { close() }
}
