/// Where the prefixes of a caller begin in the prefix tree: nobody else finds them, or can reckon
/// where they are.
///
/// A root is a keyed hash under a secret of this process. Roots live as long as the process: a
/// server or coordinator that comes after it has other ones, so that prefixes which the ranks still
/// hold of the one before are not found again. That costs time, and shows nothing.
struct PrefixRoots: Sendable {
    // Swift's `Hasher` is SipHash under a key of the process, which an environment variable can
    // make known: bits of our own come first, so that nobody can reckon what it gives.
    private let secret = [UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max)]

    /// The root of those who send this `cache_salt`; without one, the root of all.
    func root(of salt: String?) -> UInt64 { salt.map { hash([], Array($0.utf8)) } ?? Self.shared }

    /// The root of what an owner sends under another root.
    ///
    /// - Parameter owner: Empty for callers without a key.
    func root(of owner: String, under root: UInt64) -> UInt64 {
        owner.isEmpty ? root : hash([root], Array(owner.utf8))
    }

    private static let shared: UInt64 = 0

    private func hash(_ root: [UInt64], _ text: [UInt8]) -> UInt64 {
        var hasher = Hasher()
        // Each array comes with its count: no two lists of parts are the same bytes.
        hasher.combine(secret)
        hasher.combine(root)
        hasher.combine(text)
        return max(1, UInt64(bitPattern: Int64(hasher.finalize())))
    }
}
