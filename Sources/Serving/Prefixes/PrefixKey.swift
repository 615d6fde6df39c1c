import Encoding

/// The name of a cached block on disk: it depends on every token up to the block's end, on whose
/// texts they are, and on what computed them.
///
/// The key of a block is the digest of the key before it and the block's own tokens; the first one
/// before it is the digest of what computed the entries and the prefix root.
struct PrefixKey: Hashable, Sendable {
    let digest: Digest

    /// The key before the first block.
    ///
    /// - Parameters:
    ///   - origin: What computed the entries (`PrefixOrigin`).
    ///   - root: The root of the prefix tree under which the text stands.
    init(origin: Digest, root: UInt64) {
        digest = Digest(of: origin.bytes + Self.littleEndian(root))
    }

    private init(digest: Digest) { self.digest = digest }

    /// The key of the block with these tokens after the block with this key.
    func next(_ tokens: some Sequence<Int>) -> PrefixKey {
        PrefixKey(
            digest: Digest(
                of: digest.bytes
                    + tokens.flatMap { Self.littleEndian(UInt64(bitPattern: Int64($0))) }))
    }

    static func littleEndian(_ value: UInt64) -> [UInt8] {
        (0 ..< 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    }
}
