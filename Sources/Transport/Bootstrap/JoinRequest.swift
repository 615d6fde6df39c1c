import Encoding
import Topology

/// The first bytes of a rendezvous on every connection: magic, version, and 32 random bytes, of
/// which the proofs of both sides are made.
struct RendezvousGreeting: Equatable {
    static let byteCount = 8 + RendezvousToken.proofBytes
    static let magic: UInt32 = 0x4753_5041  // "APSG", little-endian

    var challenge: [UInt8] = RendezvousToken.randomBytes()

    init() {}

    func encoded() -> [UInt8] {
        var writer = WireWriter()
        writer.append(Self.magic)
        writer.append(JoinRequest.version)
        return writer.bytes + challenge
    }

    init(decoding bytes: [UInt8], from source: String) throws(TransportError) {
        guard bytes.count == Self.byteCount else {
            throw .malformed(from: source, "\(bytes.count) bytes of greeting")
        }
        var reader = WireReader(bytes, from: source)
        let magic = try reader.integer(UInt32.self, "magic")
        let version = try reader.integer(UInt32.self, "version")
        guard magic == Self.magic else {
            throw .malformed(from: source, "magic \(magic) is not \(Self.magic)")
        }
        guard version == JoinRequest.version else {
            throw .refused(
                "\(source) has version \(version) of the rendezvous, this rank has"
                    + " \(JoinRequest.version)")
        }
        challenge = Array(bytes[8...])
    }
}

/// The first bytes of a rank that joins a rendezvous: of fixed size, so that an unauthenticated
/// connection makes the server allocate nothing. They prove that the rank has the token, which does
/// not travel.
///
/// Source: HMAC-SHA256, RFC 2104; challenge and response in both directions, ISO/IEC 9798-4.
struct JoinRequest: Equatable {
    static let byteCount = 16 + 2 * RendezvousToken.proofBytes
    static let magic: UInt32 = 0x4a53_5041  // "APSJ", little-endian
    static let version: UInt32 = 2

    var rank: UInt32
    var rankCount: UInt32
    /// 32 random bytes, for the proof of the rendezvous.
    var challenge: [UInt8]
    var proof: [UInt8]

    init(rank: Rank, rankCount: Int, token: RendezvousToken, greeting: RendezvousGreeting) {
        self.rank = UInt32(rank.rawValue)
        self.rankCount = UInt32(rankCount)
        challenge = RendezvousToken.randomBytes()
        proof = []
        proof = token.proof(of: "join", statement(greeting))
    }

    func encoded() -> [UInt8] { head + challenge + proof }

    private var head: [UInt8] {
        var writer = WireWriter()
        writer.append(Self.magic)
        writer.append(Self.version)
        writer.append(rank)
        writer.append(rankCount)
        return writer.bytes
    }

    private func statement(_ greeting: RendezvousGreeting) -> [UInt8] {
        greeting.challenge + head + challenge
    }

    /// What the rendezvous answers, so that a rank gathers nothing where the token is missing.
    func welcomeProof(_ token: RendezvousToken, _ greeting: RendezvousGreeting) -> [UInt8] {
        token.proof(of: "welcome", statement(greeting))
    }

    /// Decodes and checks the request; the proof is checked before what it proves.
    init(
        decoding bytes: [UInt8], expecting token: RendezvousToken, greeting: RendezvousGreeting,
        rankCount: Int
    ) throws(TransportError) {
        guard bytes.count == Self.byteCount else {
            throw .malformed(from: "a joining process", "\(bytes.count) bytes of join request")
        }
        var reader = WireReader(bytes, from: "a joining process")
        let magic = try reader.integer(UInt32.self, "magic")
        let version = try reader.integer(UInt32.self, "version")
        rank = try reader.integer(UInt32.self, "rank")
        self.rankCount = try reader.integer(UInt32.self, "rank count")
        challenge = Array(bytes[16 ..< 16 + RendezvousToken.proofBytes])
        proof = Array(bytes[(16 + RendezvousToken.proofBytes)...])
        guard magic == Self.magic else {
            throw .malformed(from: "a joining process", "magic \(magic) is not \(Self.magic)")
        }
        guard version == Self.version else {
            throw .refused("version \(version), this rendezvous has \(Self.version)")
        }
        guard token.isProof(proof, of: "join", statement(greeting)) else {
            throw .refused("the token is another")
        }
        guard self.rankCount == UInt32(rankCount) else {
            throw .refused("rank count \(self.rankCount), this rendezvous has \(rankCount)")
        }
        guard rank < self.rankCount else {
            throw .refused("rank \(rank) is out of range: there are \(rankCount) ranks")
        }
    }
}

/// A secret that the ranks of one run share, so that no other process can join.
public struct RendezvousToken: Sendable, Equatable {
    /// A longer one is refused rather than cut.
    public static let byteCount = 64
    /// Bytes of a proof, and of what it is made of.
    static let proofBytes = Digest.byteCount
    private let bytes: [UInt8]

    /// - Parameter text: 1 to 64 bytes.
    public init(_ text: String) throws(TransportError) {
        bytes = Array(text.utf8)
        guard (1 ... Self.byteCount).contains(bytes.count) else {
            throw .limit(
                "token bytes", value: bytes.count, limit: Self.byteCount,
                origin: "RendezvousToken.byteCount")
        }
    }

    /// A fresh one of 32 hexadecimal digits.
    public static func random() -> String {
        let digits = Array("0123456789abcdef")
        return String((0 ..< 32).map { _ in digits[Int.random(in: 0 ..< 16)] })
    }

    /// Random bytes that no other connection has.
    static func randomBytes() -> [UInt8] {
        (0 ..< proofBytes).map { _ in UInt8.random(in: 0 ... 255) }
    }

    /// HMAC-SHA256 of what is proved, and of a statement, under this token.
    func proof(of purpose: String, _ statement: [UInt8]) -> [UInt8] {
        Digest(of: Array(purpose.utf8) + statement, under: bytes).bytes
    }

    /// Compares all bytes whatever differs, so that the time says nothing.
    func isProof(_ proof: [UInt8], of purpose: String, _ statement: [UInt8]) -> Bool {
        let right = self.proof(of: purpose, statement)
        guard proof.count == right.count else { return false }
        return zip(proof, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
