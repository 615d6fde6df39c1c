import CCrypto

/// One end's key pair of one connection (X25519, RFC 7748). Its public half is the end's random
/// bytes of the handshake.
///
/// It ends with the connection: whoever learns the job's token later cannot open what was recorded.
struct HandshakeKey: Sendable {
    static let byteCount = 32
    private let secret: [UInt8]
    /// What the other end is told.
    let published: [UInt8]

    /// - Parameter secret: 32 bytes that nobody else knows.
    init(secret: [UInt8]) {
        var published = [UInt8](repeating: 0, count: Self.byteCount)
        let isMade = crypto_x25519_public(
            secret, secret.count, &published, published.count)
        precondition(isMade, "libcrypto made no X25519 key of \(secret.count) bytes")
        self.secret = secret
        self.published = published
    }

    static func random() -> HandshakeKey {
        var source = SystemRandomNumberGenerator()
        return HandshakeKey(
            secret: (0 ..< byteCount).map { _ in UInt8.random(in: 0 ... 255, using: &source) })
    }

    /// What both ends know and nobody who listens; nil where the other end's key is none.
    func shared(with other: [UInt8]) -> [UInt8]? {
        var shared = [UInt8](repeating: 0, count: Self.byteCount)
        let isMade = crypto_x25519_shared(
            secret, secret.count, other, other.count, &shared, shared.count)
        return isMade ? shared : nil
    }
}
