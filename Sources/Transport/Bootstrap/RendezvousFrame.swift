import Topology

/// What ranks and rendezvous say to each other after joining.
enum RendezvousFrame: Equatable {
    /// A rank's blob of a round, and how long it will wait for the others.
    case offer(round: UInt64, label: String, milliseconds: UInt64, blob: [UInt8])
    /// The blobs of all.
    case all(round: UInt64, blobs: [[UInt8]])
    /// A rank that did not come within the time, or left.
    case missing(rank: UInt32, left: Bool)
    /// Ranks that gather different things.
    case disagreement(rank: UInt32, theirs: String, ours: String)
    /// The rank joined; the proof that the rendezvous has the token, too.
    case welcome(proof: [UInt8])
    /// The rank did not join.
    case refused(String)
    /// The rank leaves, and nobody should mind.
    case leave

    static let headerBytes = 8
    /// The largest frame for a number of ranks: all blobs, their counts and the fixed fields.
    static func limit(rankCount: Int) -> Int {
        64 + ExchangeLimit.labelBytes * 2 + rankCount * (ExchangeLimit.blobBytes + 4)
    }

    private var kind: UInt32 {
        switch self {
        case .offer: 1
        case .all: 2
        case .missing: 3
        case .disagreement: 4
        case .welcome: 5
        case .refused: 6
        case .leave: 7
        }
    }

    func encoded() -> [UInt8] {
        var body = WireWriter()
        switch self {
        case .offer(let round, let label, let milliseconds, let blob):
            body.append(round)
            body.append(label)
            body.append(milliseconds)
            body.append(blob)
        case .all(let round, let blobs):
            body.append(round)
            body.append(UInt32(blobs.count))
            for blob in blobs { body.append(blob) }
        case .missing(let rank, let left):
            body.append(rank)
            body.append(UInt8(left ? 1 : 0))
        case .disagreement(let rank, let theirs, let ours):
            body.append(rank)
            body.append(theirs)
            body.append(ours)
        case .refused(let fact): body.append(fact)
        case .welcome(let proof): body.append(proof)
        case .leave: break
        }
        var frame = WireWriter()
        frame.append(UInt32(body.bytes.count))
        frame.append(kind)
        return frame.bytes + body.bytes
    }

    /// The kind and the count of bytes that follow a header.
    static func header(
        _ bytes: [UInt8], from source: String, limit: Int
    ) throws(TransportError) -> (kind: UInt32, byteCount: Int) {
        var reader = WireReader(bytes, from: source)
        let count = Int(try reader.integer(UInt32.self, "frame length"))
        guard count <= limit else {
            throw .malformed(from: source, "frame of \(count) bytes, the limit is \(limit)")
        }
        return (try reader.integer(UInt32.self, "frame kind"), count)
    }

    init(
        kind: UInt32, body: ArraySlice<UInt8>, from source: String, rankCount: Int
    ) throws(TransportError) {
        var reader = WireReader(body, from: source)
        switch kind {
        case 1:
            self = .offer(
                round: try reader.integer(UInt64.self, "round"),
                label: try reader.text("label", limit: ExchangeLimit.labelBytes),
                milliseconds: try reader.integer(UInt64.self, "time"),
                blob: try reader.blob("blob", limit: ExchangeLimit.blobBytes))
        case 2:
            let round = try reader.integer(UInt64.self, "round")
            let count = try reader.integer(UInt32.self, "blob count")
            guard count == UInt32(rankCount) else {
                throw .malformed(from: source, "\(count) blobs for \(rankCount) ranks")
            }
            var blobs: [[UInt8]] = []
            for _ in 0 ..< count {
                blobs.append(try reader.blob("blob", limit: ExchangeLimit.blobBytes))
            }
            self = .all(round: round, blobs: blobs)
        case 3:
            self = .missing(
                rank: try Self.rank(&reader, source, rankCount),
                left: try reader.integer(UInt8.self, "left") != 0)
        case 4:
            self = .disagreement(
                rank: try Self.rank(&reader, source, rankCount),
                theirs: try reader.text("label", limit: ExchangeLimit.labelBytes),
                ours: try reader.text("label", limit: ExchangeLimit.labelBytes))
        case 5:
            self = .welcome(
                proof: try reader.blob("proof", limit: RendezvousToken.proofBytes))
        case 6: self = .refused(try reader.text("reason", limit: 1024))
        case 7: self = .leave
        default: throw .malformed(from: source, "frame kind \(kind)")
        }
        try reader.finish()
    }

    private static func rank(
        _ reader: inout WireReader, _ source: String, _ rankCount: Int
    ) throws(TransportError) -> UInt32 {
        let rank = try reader.integer(UInt32.self, "rank")
        guard rank < UInt32(rankCount) else {
            throw .malformed(from: source, "rank \(rank) of \(rankCount)")
        }
        return rank
    }
}
