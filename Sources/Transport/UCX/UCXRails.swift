import CFabric
import Glibc
import Topology

/// What the rails of one rank share: the order of its puts.
final class PutLedger {
    /// Puts posted to each rank.
    var posted: [UInt64]
    /// What came of each rank's puts.
    var orders: [PutOrder]

    init(rankCount: Int) {
        posted = Array(repeating: 0, count: rankCount)
        orders = Array(repeating: PutOrder(), count: rankCount)
    }
}

/// A UCX context and worker per network device, so that the bytes of one put travel on all planes.
///
/// UCX 1.13 puts the active messages of an endpoint on one lane, whatever its rail settings: two
/// planes of 1 Gbit/s then carry 0.12 GB/s, as one does (apus bench link).
///
/// Touched only by the holder of the engine's lock.
final class UCXRails: EngineCore {
    private let rails: [UCXState]
    let outside: EngineOutside
    private var lossCount = 0
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
        let ledger = PutLedger(rankCount: rankCount)
        var rails: [UCXState] = []
        for device in devices.isEmpty ? [nil] : devices.map(Optional.some) {
            var settings = [
                (name: "TLS", value: "tcp"), (name: "RNDV_THRESH", value: "inf"),
                (name: "TCP_RX_SEG_SIZE", value: "\(Self.segmentBytes)"),
            ]
            if let device { settings.append((name: "NET_DEVICES", value: device)) }
            rails.append(
                try UCXState(
                    rank: rank, rankCount: rankCount, settings: settings, ledger: ledger,
                    outside: outside))
        }
        self.rails = rails
        self.outside = outside
    }

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
        for (peer, address) in addresses.sorted(by: { $0.key < $1.key }) {
            try connect(peer, address: address)
        }
    }

    /// Connects as many rails as both ranks have.
    private func connect(_ peer: Rank, address: [UInt8]) throws(TransportError) {
        var reader = WireReader(address, from: peer.description)
        let count = try reader.count("rail count", in: 1 ... Self.railLimit)
        for index in 0 ..< count {
            let key = try reader.integer(UInt64.self, "key")
            let worker = try reader.blob("worker address", limit: ExchangeLimit.blobBytes)
            if index < rails.count {
                try rails[index].connect(peer, address: worker, key: key)
            }
        }
        try reader.finish()
    }

    func put(
        to peer: Rank, _ range: Range<Int>, _ source: UnsafeRawPointer?, window: Int, offset: Int,
        signal: Int?, value: UInt64
    ) throws(TransportError) -> Posting {
        let count = range.count
        let usable = rails.filter { unsafe $0.endpoints[peer.rawValue] != nil }
        guard count >= Self.turnBytes, !usable.isEmpty, let source = unsafe source else {
            return try unsafe rails[0].put(
                to: peer, source, count: count, window: window, offset: offset, signal: signal,
                value: value)
        }
        let pieces = (count + Self.pieceBytes - 1) / Self.pieceBytes
        let share = (pieces + usable.count - 1) / usable.count
        precondition(
            share <= UCXState.slotCount,
            "a put of \(count) bytes is more than \(UCXState.slotCount) messages")
        if usable.contains(where: { $0.freeCount < share }) { return .full }
        var posting = Posting.done
        for piece in 0 ..< pieces {
            let start = piece * Self.pieceBytes
            let isLast = piece == pieces - 1
            // The last piece's signal waits for the others wherever they travel: see PutOrder.
            let result = try unsafe usable[(turn + piece) % usable.count].put(
                to: peer, source + start, count: min(Self.pieceBytes, count - start),
                window: window, offset: offset + start, signal: isLast ? signal : nil,
                value: value)
            if result == .pending { posting = .pending }
        }
        turn = (turn + pieces) % usable.count
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
        for rail in rails { rail.register(window) }
        return []
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}

    func release(window: Int) { for rail in rails { rail.release(window: window) } }

    var outstandingCount: Int { rails.reduce(0) { $0 + $1.outstandingCount } }

    var livePeers: [Rank] { rails[0].livePeers }

    func say(_ kind: PutHeader.Kind, to peer: Rank, value: UInt64) {
        for rail in rails where unsafe rail.endpoints[peer.rawValue] != nil {
            rail.say(kind, to: peer, value: value)
        }
    }

    /// Whether every live rank heard our good-bye on every rail.
    var everybodyHeard: Bool {
        rails.allSatisfy { rail in rail.livePeers.allSatisfy { rail.hasFarewell[$0.rawValue] } }
    }

    func abandon(_ peer: Rank) { for rail in rails { rail.abandon(peer) } }

    /// Closes what failed; a rank lost on one rail is lost on all.
    func closeFailed() {
        let lost = outside.losses.ranks
        if lost.count != lossCount {
            lossCount = lost.count
            for peer in lost { abandon(peer) }
        }
        for rail in rails { rail.closeFailed() }
    }

    func closeAll() { for rail in rails { rail.closeAll() } }

    /// Shows that this rank lives, and gives up on those that do not.
    func pulse(silence: UInt64, _ now: UInt64, _ trustedSince: UInt64) {
        for rail in rails { rail.pulse(silence: silence, now, trustedSince) }
        closeFailed()
    }

    /// Before the first message UCX has not chosen yet.
    func path(to rank: Rank) -> (path: Path, isFinal: Bool) {
        let names = rails.map { $0.transports(to: rank) }.filter { !$0.isEmpty }
        return (.ucx(names.isEmpty ? "tcp" : names.joined(separator: ",")), !names.isEmpty)
    }
}
