import CFabric
import Glibc
import Topology

/// Carries puts by UCX, with a rail per network device, so that one put uses all planes.
///
/// UCX 1.13 puts the active messages of an endpoint on one lane, whatever its rail settings: two
/// planes of 1 Gbit/s then carry 0.12 GB/s, as one does (apus bench link).
///
/// Touched only by the holder of the engine's lock.
final class UCXCore: EngineCore {
    let rank: Rank
    let rankCount: Int
    private let rails: [UCXRail]
    let outside: EngineOutside
    var windows = WindowTable()
    /// Released by the rank, but operations in flight may still read or write them.
    private var retired: [RegisteredWindow] = []
    /// Puts posted to each rank.
    private var posted: [UInt64]
    /// What came of each rank's puts.
    var orders: [PutOrder]
    private var liveness: [PeerLiveness]
    /// The plane on which the next long put begins.
    private var turn = 0

    /// A longer put travels as messages of this size, in turn on each plane.
    ///
    /// One message may not be longer than UCX's receive segment. Longer ones would travel by
    /// rendezvous, whose answers queue behind the bytes that go the other way: two nodes that send
    /// each other 15 MB at 1 Gbit/s then take turns, 249 ms instead of 130
    /// (apus bench all-to-all --lab).
    private static let pieceBytes = 128 << 10
    /// From here on a put goes to the next plane in turn: a shorter one is not worth waiting for.
    private static let turnBytes = 32 << 10
    /// What one receive call may take in: several messages, since calls cost, and a message that is
    /// cut by the end of a segment is copied once more. 512 KiB are 8% slower on an unshaped link
    /// (apus bench all-to-all --lab, two nodes of two ranks).
    private static let segmentBytes = 1 << 20

    init(
        rank: Rank, rankCount: Int, devices: [String], outside: EngineOutside
    ) throws(TransportError) {
        self.rank = rank
        self.rankCount = rankCount
        self.outside = outside
        posted = Array(repeating: 0, count: rankCount)
        orders = Array(repeating: PutOrder(), count: rankCount)
        liveness = (0 ..< rankCount).map { PeerLiveness(Rank(rawValue: $0)) }
        var rails: [UCXRail] = []
        for device in devices.isEmpty ? [nil] : devices.map(Optional.some) {
            var settings = [
                (name: "TLS", value: "tcp"), (name: "RNDV_THRESH", value: "inf"),
                (name: "TCP_RX_SEG_SIZE", value: "\(Self.segmentBytes)"),
            ]
            if let device { settings.append((name: "NET_DEVICES", value: device)) }
            rails.append(
                try UCXRail(
                    number: rails.count, rank: rank, rankCount: rankCount, settings: settings))
        }
        self.rails = rails
        for rail in rails { rail.attach(to: self) }
    }

    /// Rails may outlive the core in a callback of UCX's.
    deinit { for rail in rails { rail.attach(to: nil) } }

    /// More planes than any node has.
    private static let railLimit = 64

    func address() throws(TransportError) -> [UInt8] {
        var writer = WireWriter()
        writer.append(UInt64(rails.count))
        for rail in rails {
            writer.append(rail.key)
            writer.append(try rail.worker.address())
        }
        return writer.bytes
    }

    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        for (remote, address) in addresses.sorted(by: { $0.key < $1.key }) {
            try connect(remote, address: address)
        }
    }

    /// Connects as many rails as both ranks have.
    private func connect(_ remote: Rank, address: [UInt8]) throws(TransportError) {
        var reader = WireReader(address, from: remote.description)
        let count = try reader.count("rail count", in: 1 ... Self.railLimit)
        for index in 0 ..< count {
            let key = try reader.integer(UInt64.self, "key")
            let worker = try reader.blob("worker address", limit: ExchangeLimit.blobBytes)
            if index < rails.count {
                try rails[index].connect(remote, address: worker, key: key)
                liveness[remote.rawValue].connected(at: outside.clock.nanoseconds)
            }
        }
        try reader.finish()
    }

    func put(_ put: Put) throws(TransportError) -> Posting {
        guard liveness[put.rank.rawValue].isLive else {
            throw outside.lostRanks.refusal(ofPutTo: put.rank)
        }
        guard put.byteCount >= Self.turnBytes else { return try post(put, on: rails[0]) }
        let usable = rails.filter { $0.isConnected(to: put.rank) }
        let pieces = (put.byteCount + Self.pieceBytes - 1) / Self.pieceBytes
        let share = (pieces + usable.count - 1) / usable.count
        precondition(
            share <= UCXRail.slotCount,
            "a put of \(put.byteCount) bytes is more than \(UCXRail.slotCount) messages")
        if usable.contains(where: { $0.freeCount < share }) { return .full }
        var posting = Posting.done
        for index in 0 ..< pieces {
            let start = index * Self.pieceBytes
            // The last piece's signal waits for the others wherever they travel: see PutOrder.
            let piece = put.part(start ..< min(start + Self.pieceBytes, put.byteCount))
            let result = try post(piece, on: usable[(turn + index) % usable.count])
            if result == .pending { posting = .pending }
        }
        turn = (turn + pieces) % usable.count
        return posting
    }

    private func post(_ put: Put, on rail: UCXRail) throws(TransportError) -> Posting {
        let posting = try rail.put(put, sequence: posted[put.rank.rawValue] + 1)
        if posting != .full { posted[put.rank.rawValue] += 1 }
        return posting
    }

    func progress() -> Bool {
        var moved = false
        for rail in rails where rail.worker.progress() { moved = true }
        return moved
    }

    /// False if a worker has something to do first.
    func arm() -> Bool { rails.allSatisfy { $0.worker.arm() } }

    var eventDescriptors: [Int32] { rails.map { $0.worker.eventDescriptor } }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        windows.register(window)
        return []
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}

    func release(window: Int) {
        if let window = windows.release(window) { retired.append(window) }
    }

    var outstandingCount: Int { rails.reduce(0) { $0 + $1.outstandingCount } }

    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64) {
        for rail in rails where rail.isConnected(to: rank) {
            rail.say(kind, to: rank, value: value)
        }
    }

    subscript(liveness rank: Rank) -> PeerLiveness {
        get { liveness[rank.rawValue] }
        set { liveness[rank.rawValue] = newValue }
    }

    func disconnect(_ rank: Rank) {
        for rail in rails { rail.disconnect(rank) }
        outside.control.ring()
    }

    func closeFailed() {
        for rail in rails { rail.closeFailed() }
        // A released window is held as long as anything in flight may touch its memory.
        guard !retired.isEmpty, outstandingCount == 0,
            rails.allSatisfy({ $0.receivingCount == 0 })
        else { return }
        retired.removeAll()
    }

    func closeAll() {
        for rank in liveRanks { self[liveness: rank].abandoned() }
        for rail in rails { rail.closeAll() }
    }

    /// Before the first message UCX has not chosen yet.
    func path(to rank: Rank) -> (path: Path, isFinal: Bool) {
        let names = rails.map { $0.transports(to: rank) }.filter { !$0.isEmpty }
        return (.ucx(names.isEmpty ? "tcp" : names.joined(separator: ",")), !names.isEmpty)
    }
}
