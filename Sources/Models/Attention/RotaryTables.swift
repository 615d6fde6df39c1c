import Foundation
import Tensors

/// Cosines and sines of every position's rotation, YaRN's stretch included.
///
/// YaRN, §3.2: dimensions that turn often keep their frequency, those that turn seldom have it
/// divided by the factor, and a ramp lies between. As in Transformers, the stretch applies at
/// every position, not only beyond the original length.
struct RotaryTables {
    /// `[positions, rope / 2]`.
    let cosines: Tensor
    /// `[positions, rope / 2]`.
    let sines: Tensor

    init(_ configuration: ModelConfiguration, positions: Int) {
        let frequencies = Self.frequencies(configuration)
        let magnitude =
            configuration.yarn.map {
                $0.magnitude($0.mscale) / $0.magnitude($0.mscaleAllDimensions)
            } ?? 1
        cosines = Tensor(rows: positions, columns: frequencies.count)
        sines = Tensor(rows: positions, columns: frequencies.count)
        for position in 0 ..< positions {
            for (pair, frequency) in frequencies.enumerated() {
                let angle = Double(position) * frequency
                cosines[position, pair] = Float(cos(angle) * magnitude)
                sines[position, pair] = Float(sin(angle) * magnitude)
            }
        }
    }

    /// Radians per position for each pair of dimensions.
    static func frequencies(_ configuration: ModelConfiguration) -> [Double] {
        let size = configuration.ropeHeadSize
        let plain = (0 ..< size / 2).map {
            pow(configuration.ropeTheta, -2 * Double($0) / Double(size))
        }
        guard let yarn = configuration.yarn else { return plain }
        /// The dimension whose wave turns `rotations` times over the original length.
        func dimension(_ rotations: Double) -> Double {
            let waves = Double(yarn.originalPositionLimit) / (rotations * 2 * .pi)
            return Double(size) * log(waves) / (2 * log(configuration.ropeTheta))
        }
        let low = max(floor(dimension(yarn.betaFast)), 0)
        let high = min(ceil(dimension(yarn.betaSlow)), Double(size - 1))
        // A range without width still needs a slope.
        let width = high == low ? 0.001 : high - low
        return plain.enumerated().map { pair, frequency in
            let ramp = min(max((Double(pair) - low) / width, 0), 1)
            return frequency / yarn.factor * ramp + frequency * (1 - ramp)
        }
    }
}
