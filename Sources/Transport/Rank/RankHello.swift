import Glibc
import Topology

/// What a rank tells the others when it joins.
struct RankHello: Equatable {
    /// Grows with every change of what ranks say to each other.
    static let protocolVersion: UInt32 = 2
    private static let magic: UInt32 = 0x5355_5041  // "APUS", little-endian

    var rank: Rank
    var rankCount: Int
    var transport: String
    var process: Int32
    var controlDescriptor: Int32
    /// Ranks with equal text share memory.
    var node: String
    /// Whether this rank would take RDMA to other nodes; asked where the choice is ours.
    var offersRDMA: Bool

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(Self.magic)
        writer.append(Self.protocolVersion)
        writer.append(UInt64(rank.rawValue))
        writer.append(UInt64(rankCount))
        writer.append(transport)
        writer.append(process)
        writer.append(controlDescriptor)
        writer.append(node)
        writer.append(UInt64(offersRDMA ? 1 : 0))
        return writer.bytes
    }

    /// Decodes what came from a rank that may run another program.
    init(decoding bytes: [UInt8], from source: Rank) throws(TransportError) {
        var reader = WireReader(bytes, from: source.description)
        let magic = try reader.integer(UInt32.self, "magic")
        guard magic == Self.magic else {
            throw .malformed(from: source.description, "magic \(magic) is not \(Self.magic)")
        }
        let version = try reader.integer(UInt32.self, "protocol version")
        guard version == Self.protocolVersion else {
            throw .disagreement(
                source, subject: "protocol version", theirs: "\(version)",
                ours: "\(Self.protocolVersion)")
        }
        let ranks = 0 ... FabricConfiguration.maximumRankCount
        rank = Rank(rawValue: try reader.count("rank", in: ranks))
        rankCount = try reader.count("rank count", in: ranks)
        transport = try reader.text("transport", limit: 32)
        process = try reader.integer(Int32.self, "process")
        controlDescriptor = try reader.integer(Int32.self, "control descriptor")
        node = try reader.text("node", limit: 1024)
        offersRDMA = try reader.count("offer of RDMA", in: 0 ... 1) == 1
        try reader.finish()
    }

    init(
        rank: Rank, rankCount: Int, transport: String, process: Int32, controlDescriptor: Int32,
        node: String, offersRDMA: Bool
    ) {
        self.rank = rank
        self.rankCount = rankCount
        self.transport = transport
        self.process = process
        self.controlDescriptor = controlDescriptor
        self.node = node
        self.offersRDMA = offersRDMA
    }

    /// Checks that a rank speaks of the same run as this one.
    func agree(with ours: RankHello, at position: Int) throws(TransportError) {
        guard rank.rawValue == position else {
            throw .disagreement(
                Rank(rawValue: position), subject: "rank", theirs: "\(rank.rawValue)",
                ours: "\(position)")
        }
        guard rankCount == ours.rankCount else {
            throw .disagreement(
                rank, subject: "rank count", theirs: "\(rankCount)", ours: "\(ours.rankCount)")
        }
        guard transport == ours.transport else {
            throw .disagreement(
                rank, subject: "transport", theirs: transport, ours: ours.transport)
        }
    }
}
