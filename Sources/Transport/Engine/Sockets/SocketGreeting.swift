/// Says who connects, and proves that it was at the join; the answer to it proves the same.
struct SocketGreeting: Equatable {
    private static let magic: UInt32 = 0x4b53_5041  // "APSK", little-endian
    private static let version: UInt32 = 1
    static let byteCount = 24

    var rank: UInt32
    /// Which of its planes the connection belongs to.
    var plane: UInt32
    /// The other side's key, which it gave out at the join: no other process has it.
    var key: UInt64

    init(rank: UInt32, plane: UInt32, key: UInt64) {
        self.rank = rank
        self.plane = plane
        self.key = key
    }

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(Self.magic)
        writer.append(Self.version)
        writer.append(rank)
        writer.append(plane)
        writer.append(key)
        return writer.bytes
    }

    /// Decodes bytes of an unauthenticated connection.
    init(decoding bytes: [UInt8]) throws(TransportError) {
        var reader = WireReader(bytes, from: "a connecting process")
        let magic = try reader.integer(UInt32.self, "magic")
        guard magic == Self.magic else {
            throw .malformed(from: "a connecting process", "magic \(magic) is not \(Self.magic)")
        }
        let version = try reader.integer(UInt32.self, "version")
        guard version == Self.version else {
            throw .malformed(
                from: "a connecting process", "version \(version) is not \(Self.version)")
        }
        rank = try reader.integer(UInt32.self, "rank")
        plane = try reader.integer(UInt32.self, "plane")
        key = try reader.integer(UInt64.self, "key")
        try reader.finish()
    }
}
