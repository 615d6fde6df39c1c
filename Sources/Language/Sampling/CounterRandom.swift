import Encoding

/// Random numbers that are a function of a seed and a place, with no state between them.
///
/// A draw for the tenth token is the same whether the nine before it were drawn here, elsewhere,
/// in one batch or in ten: what makes a text reproducible and a failed request resumable.
public struct CounterRandom: Sendable, Hashable {
    /// What a number is for, so that two decisions about one token are independent.
    public enum Purpose: UInt64, Sendable {
        /// Choosing the token.
        case token = 1
        /// Initial weights.
        case weight = 5
    }

    private let key: UInt64

    /// The numbers of this seed.
    public init(seed: UInt64) { key = SplitMix64.mix(seed &+ 0x9E37_79B9_7F4A_7C15) }

    /// 64 random bits.
    public func bits(_ index: Int, _ purpose: Purpose) -> UInt64 {
        let stream = SplitMix64.mix(key ^ (purpose.rawValue &* 0xD1B5_4A32_D192_ED03))
        return SplitMix64.mix(stream &+ UInt64(bitPattern: Int64(index)) &* 0x9E37_79B9_7F4A_7C15)
    }

    /// A number from 0 up to, not including, 1.
    public func uniform(_ index: Int, _ purpose: Purpose) -> Double {
        Double(bits(index, purpose) >> 11) * 0x1p-53
    }
}
