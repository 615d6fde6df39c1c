import Glibc
import Topology

/// Carries puts over a simulated network in virtual time, with real bytes.
///
/// Bytes land as RDMA writes do: no thread of the receiver takes part.
///
/// Invariants:
/// 1. A header is checked against window, sequence and rank before a byte is moved.
/// 2. Signals are set in the order of the puts, whichever planes those took (`PutOrder`).
///
/// Safe because only the thread whose turn it is in `SimulatedTime` touches it.
@safe final class SimulatedCore: EngineCore, @unchecked Sendable {
    let rank: Rank
    let rankCount: Int
    let outside: EngineOutside
    private let members: SimulatedMembers
    private var network: SimulatedNetwork { members.network }
    private let planes: Range<Int>
    private var windows = WindowTable()
    private var liveness: [PeerLiveness]
    private var orders: [PutOrder]
    private var posted: [UInt64]
    private var outstanding: [Int]
    private var turn = 0

    /// As over TCP: longer puts travel in pieces on the planes in turn.
    private static let pieceBytes = 128 << 10
    private static let turnBytes = 32 << 10

    init(rank: Rank, members: SimulatedMembers, outside: EngineOutside) {
        self.rank = rank
        rankCount = members.ranks.count
        self.members = members
        self.outside = outside
        planes = members.planes(of: rank)
        liveness = (0 ..< rankCount).map { PeerLiveness(Rank(rawValue: $0)) }
        orders = Array(repeating: PutOrder(), count: rankCount)
        posted = Array(repeating: 0, count: rankCount)
        outstanding = Array(repeating: 0, count: rankCount)
        members.network.attach(self, at: members.endpoint(of: rank))
    }

    func address() throws(TransportError) -> [UInt8] { [] }

    /// One connection per plane of the other rank, on which it sends to this one.
    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        for remote in addresses.keys.sorted() {
            for _ in members.planes(of: remote) {
                liveness[remote.rawValue].connected(at: outside.clock.nanoseconds)
            }
        }
    }

    func path(to rank: Rank) -> (path: Path, isFinal: Bool) {
        let names = planes.map { network.links.map.planes[$0].name }
        return (.simulated(names.joined(separator: ",")), true)
    }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        windows.register(window)
        return []
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}

    func release(window: Int) { _ = windows.release(window) }

    func progress() -> Bool { false }

    func arm() -> Bool { true }

    var eventDescriptors: [Int32] { [] }

    var outstandingCount: Int { outstanding.reduce(0, +) }

    subscript(liveness rank: Rank) -> PeerLiveness {
        get { liveness[rank.rawValue] }
        set { liveness[rank.rawValue] = newValue }
    }

    func disconnect(_ rank: Rank) {
        network.drop(
            from: members.endpoint(of: self.rank), to: members.endpoint(of: rank))
        outstanding[rank.rawValue] = 0
        outside.control.ring()
    }

    func closeFailed() {}

    func closeAll() { network.detach(members.endpoint(of: rank)) }
}

// MARK: - Moving

extension SimulatedCore {
    func put(_ put: Put) throws(TransportError) -> Posting {
        let target = put.rank.rawValue
        guard liveness[target].isLive else {
            throw outside.lostRanks.refusal(ofPutTo: put.rank)
        }
        let isShared = planes.count > 1 && put.byteCount >= Self.turnBytes
        let pieceBytes = isShared ? Self.pieceBytes : max(put.byteCount, 1)
        let memory = windows[put.window]?.staging?.region
        for index in 0 ..< max(1, (put.byteCount + pieceBytes - 1) / pieceBytes) {
            let start = index * pieceBytes
            let part = put.part(start ..< min(start + pieceBytes, put.byteCount))
            posted[target] += 1
            var header = PutHeader(.put, source: UInt32(rank.rawValue), key: 0)
            header.sequence = posted[target]
            header.window = UInt32(part.window)
            header.offset = UInt64(part.offset)
            header.length = UInt64(part.byteCount)
            header.signal = part.headerSignal
            header.value = part.value
            outstanding[target] += 1
            if isShared { turn = (turn + 1) % planes.count }
            send(
                unsafe SimulatedPiece(
                    header: header, source: part.source, byteCount: part.byteCount, memory: memory),
                to: target, plane: planes.lowerBound + (isShared ? turn : 0))
        }
        return .done
    }

    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) {
        for plane in planes { say(kind, to: rank, plane: plane, value: value) }
    }

    private func say(_ kind: PutHeader.Kind, to rank: Rank, plane: Int, value: UInt64 = 0) {
        var header = PutHeader(kind, source: UInt32(self.rank.rawValue), key: 0)
        header.value = value
        send(
            unsafe SimulatedPiece(header: header, source: nil, byteCount: 0, memory: nil),
            to: rank.rawValue, plane: plane)
    }

    private func send(_ piece: SimulatedPiece, to target: Int, plane: Int) {
        let key = SimulatedConnection.Key(
            source: members.endpoint(of: rank),
            target: members.endpoint(of: Rank(rawValue: target)), plane: plane)
        // Queued bytes show as well that this rank lives.
        if piece.header.kind == .heartbeat, network.connections[key]?.isEmpty == false { return }
        network.send(piece, on: key)
    }

    /// A piece of this rank has arrived at an endpoint.
    func arrived(_ piece: SimulatedPiece, at endpoint: Int) {
        let target = members.rank(at: endpoint).rawValue
        guard piece.isCounted, outstanding[target] > 0 else { return }
        outstanding[target] -= 1
        if outstandingCount == 0 { outside.control.ring() }
    }

    /// A piece of an endpoint has arrived here.
    func land(_ piece: SimulatedPiece, from endpoint: Int, plane: Int) {
        let source = members.rank(at: endpoint)
        guard !liveness[source.rawValue].isGone else { return }
        let connection = plane - members.planes(of: source).lowerBound
        let header = piece.header
        note(header, of: source, on: connection) {
            let own = min(connection, planes.count - 1)
            say(.goodbyeAcknowledgement, to: source, plane: planes.lowerBound + own)
        }
        guard header.kind == .put else { return }
        do throws(PutFault) {
            let window = try windows.target(of: header, byteCount: piece.byteCount)
            if let window, let bytes = unsafe piece.source {
                unsafe memcpy(
                    window.memory.bytes + Int(header.offset), bytes, piece.byteCount)
            }
        } catch {
            return end(source, cause: "it sent \(error.fact)")
        }
        let isTaken = orders[source.rawValue].arrive(header.sequence, header.publication) {
            windows.publish($0, ringing: outside.control)
        }
        if !isTaken { end(source, cause: "it sent put number \(header.sequence) twice") }
    }
}
