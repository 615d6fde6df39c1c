/// A generator whose whole state is one word: the same seed gives the same values everywhere.
///
/// Source: Steele, Lea and Flood, 2014 (SplitMix64).
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts at a seed; near seeds give unrelated streams.
    public init(seed: UInt64) { state = seed }

    /// Starts at a seed that a name is mixed into, so that every name has a stream of its own.
    public init(seed: UInt64, name: String) { state = seed &+ FNV1a.hash(name.utf8) }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Self.mix(state)
    }

    /// A number in [0, 1).
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A number in (0, 1], whose logarithm is finite.
    public mutating func positiveUniform() -> Double { (Double(next() >> 11) + 1) * 0x1p-53 }

    /// The generator's finaliser: a bijection that passes BigCrush when it is fed a counter.
    public static func mix(_ word: UInt64) -> UInt64 {
        var word = word
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}
