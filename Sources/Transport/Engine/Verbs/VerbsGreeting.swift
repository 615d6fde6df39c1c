/// Says who connects, and where its records go; travels as private data of a connection, whose 56
/// bytes rdmacm carries.
struct VerbsGreeting: Equatable {
    static let magic: UInt32 = 0x5653_5041  // "APSV", little-endian
    static let byteCount = 28

    var rank: UInt32
    /// The receiver's key, from its address: no other process has it.
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
