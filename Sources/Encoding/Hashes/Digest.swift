import CCrypto

/// A SHA-256 digest, as the name of what was digested.
public struct Digest: Hashable, Sendable {
    /// Bytes of a digest.
    public static let byteCount = 32

    /// The digest itself.
    public let bytes: [UInt8]

    /// The digest of bytes.
    public init(of content: [UInt8]) {
        var digest = [UInt8](repeating: 0, count: Self.byteCount)
        let computed = crypto_sha256(content, content.count, &digest, digest.count)
        precondition(computed, "libcrypto computed no SHA-256 of \(content.count) bytes")
        bytes = digest
    }

    /// HMAC-SHA256 of bytes under a secret (RFC 2104).
    public init(of content: [UInt8], under secret: [UInt8]) {
        var code = [UInt8](repeating: 0, count: Self.byteCount)
        let computed = crypto_hmac_sha256(
            secret, secret.count, content, content.count, &code, code.count)
        precondition(computed, "libcrypto computed no HMAC-SHA256 of \(content.count) bytes")
        bytes = code
    }

    /// A digest that somebody else computed; nil for bytes that are none.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// 64 hexadecimal digits.
    public var text: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
