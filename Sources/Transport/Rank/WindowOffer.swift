import Topology

/// What a rank announces of its part of a new window.
struct WindowOffer: Equatable {
    let name: String
    let identifier: Int
    let byteCount: Int
    let signalCount: Int
    let descriptor: Int32
    /// What the remote engine's peers need to write here; empty without one.
    let key: [UInt8]

    init(
        name: String, identifier: Int, byteCount: Int, signalCount: Int, descriptor: Int32,
        key: [UInt8]
    ) {
        self.name = name
        self.identifier = identifier
        self.byteCount = byteCount
        self.signalCount = signalCount
        self.descriptor = descriptor
        self.key = key
    }

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(name)
        writer.append(UInt64(identifier))
        writer.append(UInt64(byteCount))
        writer.append(UInt64(signalCount))
        writer.append(descriptor)
        writer.append(key)
        return writer.bytes
    }

    init(decoding bytes: [UInt8], from source: Rank) throws(TransportError) {
        var reader = WireReader(bytes, from: source.description)
        name = try reader.text("window name", limit: ExchangeLimit.labelBytes)
        identifier = try reader.count("window number", in: 0 ... Self.windowLimit)
        byteCount = try reader.count("window bytes", in: 0 ... Self.byteLimit)
        signalCount = try reader.count("window signals", in: 0 ... Self.signalLimit)
        descriptor = try reader.integer(Int32.self, "window descriptor")
        key = try reader.blob("window key", limit: ExchangeLimit.blobBytes)
        try reader.finish()
    }

    /// A run makes a few windows per group; more is a loop that forgot to keep them.
    static let windowLimit = 1 << 16
    /// Far above any memory, far below where offsets overflow.
    static let byteLimit = 1 << 50
    /// 64 bytes each: 16 GiB of signals.
    static let signalLimit = 1 << 28

    func agree(with ours: WindowOffer, from rank: Rank) throws(TransportError) {
        guard name == ours.name else {
            throw .disagreement(
                rank, subject: "a window named", theirs: name, ours: ours.name)
        }
        guard identifier == ours.identifier else {
            throw .disagreement(
                rank, subject: "window number", theirs: "\(identifier)",
                ours: "\(ours.identifier)")
        }
    }
}
