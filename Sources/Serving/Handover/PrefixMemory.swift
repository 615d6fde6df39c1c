/// Which prompts went to a rank lately, so that another one that begins alike may follow them.
///
/// It is a guess of the rank's prefix cache, which alone knows: a guess that is wrong costs time,
/// and changes no text.
struct PrefixMemory: Sendable {
    /// When each prefix was last used, by its hash.
    private var uses: [Int: UInt64] = [:]
    private var clock: UInt64 = 0

    /// Tokens between two prefixes that are remembered.
    private static let stride = 64
    /// Prefixes that are remembered: of 64 tokens each, more than a cache of a million holds.
    private static let capacity = 1 << 14

    /// Tokens at the beginning of a prompt that are remembered.
    func match(_ tokens: [Int], salt: UInt64) -> Int {
        var count = 0
        for hash in Self.hashes(tokens, salt) {
            guard uses[hash] != nil else { break }
            count += Self.stride
        }
        return count
    }

    /// Remembers a prompt; the prefixes that were used longest ago are forgotten.
    mutating func note(_ tokens: [Int], salt: UInt64) {
        clock += 1
        for hash in Self.hashes(tokens, salt) { uses[hash] = clock }
        guard uses.count > Self.capacity else { return }
        let kept = uses.sorted { $0.value > $1.value }.prefix(Self.capacity / 2)
        uses = Dictionary(uniqueKeysWithValues: kept.map { ($0.key, $0.value) })
    }

    /// Of each prefix of whole strides, shortest first.
    private static func hashes(_ tokens: [Int], _ salt: UInt64) -> [Int] {
        var hasher = Hasher()
        hasher.combine(salt)
        return Swift.stride(from: stride, through: tokens.count, by: stride).map { end in
            for token in tokens[end - stride ..< end] { hasher.combine(token) }
            let copy = hasher
            return copy.finalize()
        }
    }
}
