/// How both ends of a connection show that they know the job's secret, which never travels.
///
/// 1. The caller greets: its version, its role, and a public key made for this connection.
/// 2. The coordinator answers: its version, a public key of its own, and its proof.
/// 3. The caller checks the proof and sends its own. Frames follow, sealed (`FrameSeal`).
///
/// A proof is HMAC-SHA256 under the token over the side that proves, the version, the role and both
/// ends' public keys: one that was overheard fits no other connection, neither end and no other
/// role. Every message has a fixed size, so an unauthenticated connection makes neither end
/// allocate.
///
/// Source: HMAC, RFC 2104; challenge and response in both directions, ISO/IEC 9798-4; X25519,
/// RFC 7748.
enum Handshake {
    static let proofBytes = 32
    static let magic = Array("APUS".utf8)

    /// What a connection is for; `Hello` must agree.
    enum Role: UInt8, CaseIterable, Sendable {
        case worker = 0
        case observer = 1
        /// Asks another rank's host for weights; no role at a coordinator.
        case receiver = 2
    }

    /// Who proves.
    enum Side: UInt8, CaseIterable, Sendable {
        case coordinator = 0
        case caller = 1
    }

    /// What a proof of one side is computed over.
    static func statement(
        of side: Side, _ greeting: Greeting, coordinatorKey: [UInt8]
    ) -> [UInt8] {
        [side.rawValue] + greeting.encoded() + coordinatorKey
    }

    /// Four magic bytes, the version, a byte of meaning, and a zero.
    fileprivate static func head(_ version: UInt16, _ byte: UInt8) -> [UInt8] {
        magic + [UInt8(version >> 8), UInt8(version & 0xff), byte, 0]
    }

    fileprivate static func version(_ bytes: [UInt8], count: Int) -> UInt16? {
        guard bytes.count == count, bytes.starts(with: magic), bytes[7] == 0 else { return nil }
        return UInt16(bytes[4]) << 8 | UInt16(bytes[5])
    }
}

/// The first bytes of a connection: magic, version (2 bytes, big-endian), role, zero, public key.
struct Greeting: Equatable {
    static let byteCount = 8 + HandshakeKey.byteCount

    var version = UInt16(ControlProtocol.version)
    var role: Handshake.Role
    var key: [UInt8]

    init(role: Handshake.Role, key: [UInt8]) {
        self.role = role
        self.key = key
    }

    /// Reads a greeting, or returns nil if the bytes are none.
    init?(_ bytes: [UInt8]) {
        guard let version = Handshake.version(bytes, count: Self.byteCount),
            let role = Handshake.Role(rawValue: bytes[6])
        else { return nil }
        self.version = version
        self.role = role
        key = Array(bytes[8...])
    }

    func encoded() -> [UInt8] { Handshake.head(version, role.rawValue) + key }
}

/// What the coordinator answers: magic, version, two zeros, public key, proof. To another version
/// it says no more than its own.
struct GreetingAnswer: Equatable {
    static let byteCount = 8 + HandshakeKey.byteCount + Handshake.proofBytes

    var version = UInt16(ControlProtocol.version)
    var key = [UInt8](repeating: 0, count: HandshakeKey.byteCount)
    var proof = [UInt8](repeating: 0, count: Handshake.proofBytes)

    init() {}

    /// Reads an answer, or returns nil if the bytes are none.
    init?(_ bytes: [UInt8]) {
        guard let version = Handshake.version(bytes, count: Self.byteCount), bytes[6] == 0 else {
            return nil
        }
        self.version = version
        key = Array(bytes[8 ..< 8 + HandshakeKey.byteCount])
        proof = Array(bytes[(8 + HandshakeKey.byteCount)...])
    }

    func encoded() -> [UInt8] { Handshake.head(version, 0) + key + proof }
}
