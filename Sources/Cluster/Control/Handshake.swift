/// How both ends of a connection show that they know the job's secret, which never travels.
///
/// 1. The caller greets: its version, its role, and 32 random bytes.
/// 2. The coordinator answers: its version, 32 random bytes of its own, and its proof.
/// 3. The caller checks the proof and sends its own. Frames follow.
///
/// A proof is HMAC-SHA256 under the token over the side that proves, the version, the role and both
/// ends' random bytes: one that was overheard fits no other connection, neither end and no other
/// role. Every message has a fixed size, so an unauthenticated connection makes neither end
/// allocate.
///
/// Source: HMAC, RFC 2104; challenge and response in both directions, ISO/IEC 9798-4.
enum Handshake {
    static let nonceBytes = 32
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
        of side: Side, _ greeting: Greeting, coordinatorNonce: [UInt8]
    ) -> [UInt8] {
        [side.rawValue] + greeting.encoded() + coordinatorNonce
    }

    /// Random bytes that no other connection has.
    static func nonce() -> [UInt8] {
        var source = SystemRandomNumberGenerator()
        return (0 ..< nonceBytes).map { _ in UInt8.random(in: 0 ... 255, using: &source) }
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

/// The first bytes of a connection: magic, version (2 bytes, big-endian), role, zero, nonce.
struct Greeting: Equatable {
    static let byteCount = 8 + Handshake.nonceBytes

    var version = UInt16(ControlProtocol.version)
    var role: Handshake.Role
    var nonce: [UInt8]

    init(role: Handshake.Role, nonce: [UInt8]) {
        self.role = role
        self.nonce = nonce
    }

    /// Reads a greeting, or returns nil if the bytes are none.
    init?(_ bytes: [UInt8]) {
        guard let version = Handshake.version(bytes, count: Self.byteCount),
            let role = Handshake.Role(rawValue: bytes[6])
        else { return nil }
        self.version = version
        self.role = role
        nonce = Array(bytes[8...])
    }

    func encoded() -> [UInt8] { Handshake.head(version, role.rawValue) + nonce }
}

/// What the coordinator answers: magic, version, two zeros, nonce, proof. To another version it
/// says no more than its own.
struct GreetingAnswer: Equatable {
    static let byteCount = 8 + Handshake.nonceBytes + Handshake.proofBytes

    var version = UInt16(ControlProtocol.version)
    var nonce = [UInt8](repeating: 0, count: Handshake.nonceBytes)
    var proof = [UInt8](repeating: 0, count: Handshake.proofBytes)

    init() {}

    /// Reads an answer, or returns nil if the bytes are none.
    init?(_ bytes: [UInt8]) {
        guard let version = Handshake.version(bytes, count: Self.byteCount), bytes[6] == 0 else {
            return nil
        }
        self.version = version
        nonce = Array(bytes[8 ..< 8 + Handshake.nonceBytes])
        proof = Array(bytes[(8 + Handshake.nonceBytes)...])
    }

    func encoded() -> [UInt8] { Handshake.head(version, 0) + nonce + proof }
}
