import CFabric
import Topology

/// One reliable connection, and what travels on it.
///
/// Touched only by the holder of the engine's lock.
@safe final class VerbsPeer {
    let rank: Rank
    /// nil before the connection begins and after it was closed.
    var connection: UnsafeMutablePointer<rdma_cm_id>?
    var isEstablished = false
    /// Where this rank's records go in the peer's memory.
    var mailbox: (address: UInt64, key: UInt32) = (0, 0)
    /// The peer's windows.
    var windows: [Int: (address: UInt64, key: UInt32)] = [:]
    /// What the peer wants to see in a record.
    var key: UInt64 = 0
    /// Records written to the peer, and taken from it.
    var sent: UInt64 = 0
    var taken: UInt64 = 0
    /// Puts counted on both sides; a reliable connection keeps their order.
    var posted: UInt64 = 0
    var arrived: UInt64 = 0
    var outstanding = 0
    var heard: UInt64 = 0
    var isGone = false
    var hasFarewell = false
    var isBeating = false

    init(_ rank: Rank) { self.rank = rank }

    var queue: UnsafeMutablePointer<ibv_qp>? { unsafe connection?.pointee.qp }
}

/// Says who connects, and where its records go; travels as private data of a connection, whose 56
/// bytes rdmacm carries.
struct VerbsGreeting: Equatable {
    static let magic: UInt32 = 0x5653_5041  // "APSV", little-endian
    static let byteCount = 28

    var rank: UInt32
    /// The receiver's key, from its address: a stranger does not have it.
    var key: UInt64
    var mailboxAddress: UInt64
    var mailboxKey: UInt32

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(Self.magic)
        writer.append(rank)
        writer.append(key)
        writer.append(mailboxAddress)
        writer.append(mailboxKey)
        return writer.bytes
    }

    init(rank: UInt32, key: UInt64, mailboxAddress: UInt64, mailboxKey: UInt32) {
        self.rank = rank
        self.key = key
        self.mailboxAddress = mailboxAddress
        self.mailboxKey = mailboxKey
    }

    /// Decodes private data, which the other side's rdmacm may have padded.
    init(decoding bytes: [UInt8]) throws(TransportError) {
        var reader = WireReader(bytes, from: "a connecting process")
        let magic = try reader.integer(UInt32.self, "magic")
        guard magic == Self.magic else {
            throw .malformed(from: "a connecting process", "magic \(magic) is not \(Self.magic)")
        }
        rank = try reader.integer(UInt32.self, "rank")
        key = try reader.integer(UInt64.self, "key")
        mailboxAddress = try reader.integer(UInt64.self, "mailbox address")
        mailboxKey = try reader.integer(UInt32.self, "mailbox key")
    }
}
