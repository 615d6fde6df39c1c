import DeepSeekV3
import Foundation
import Tensors

/// A generator whose whole state is one word: the same seed gives the same values everywhere.
///
/// Source: Steele et al. 2014, SplitMix64.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// Mixes a name into a seed (FNV-1a), so that every parameter has a stream of its own whatever
    /// rank holds it.
    init(seed: UInt64, name: String) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        state = seed &+ hash
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    mutating func unit() -> Double { (Double(next() >> 11) + 1) * 0x1p-53 }
}

extension Parameter {
    /// Normal values of the given deviation; ones for a norm's weight.
    func start(seed: UInt64, deviation: Double) {
        if isVector { return value.fill(1) }
        var random = SplitMix64(seed: seed, name: name)
        let columns = value.columns
        for row in 0 ..< value.rows {
            for column in stride(from: 0, to: columns, by: 2) {
                // Box and Muller 1958.
                let radius = deviation * (-2 * log(random.unit())).squareRoot()
                let angle = 2 * .pi * random.unit()
                value[row, column] = Float(radius * cos(angle))
                if column + 1 < columns {
                    value[row, column + 1] = Float(radius * sin(angle))
                }
            }
        }
    }
}
