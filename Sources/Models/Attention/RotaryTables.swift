import Foundation
import Tensors

/// Cosines and sines of every position's rotation, YaRN's stretch included.
///
/// YaRN, §3.2: dimensions that turn often keep their frequency, those that turn seldom have it
/// divided by the factor, and a ramp lies between. As in Transformers, the stretch applies at
/// every position, not only beyond the original length.
///
/// A row is computed when its position is first needed: a model for a million positions would
/// otherwise spend a second and hundreds of megabytes on rows that few texts reach.
struct RotaryTables {
    /// `[positions, rope / 2]`.
    let cosines: Tensor
    /// `[positions, rope / 2]`.
    let sines: Tensor
    /// Rows of both that are computed; the others are memory that was never touched.
    private(set) var filledCount = 0
    private let frequencies: [Double]
    private let magnitude: Double

    /// Rows computed at once: some milliseconds.
    private static let step = 4096

    /// - Parameter filled: Positions whose rows are computed at once.
    init(_ configuration: ModelConfiguration, positions: Int, filled: Int = 0) {
        frequencies = Self.frequencies(configuration)
        magnitude = configuration.yarn?.rotationMagnitude ?? 1
        cosines = Tensor(unfilledRows: positions, columns: frequencies.count)
        sines = Tensor(unfilledRows: positions, columns: frequencies.count)
        fill(to: filled)
    }

    /// Computes the rows up to these positions, as far as they are not there.
    mutating func cover(_ positions: [Int32]) {
        let needed = Int(positions.max() ?? -1) + 1
        guard needed > filledCount else { return }
        precondition(
            needed <= cosines.rows, "position \(needed - 1) of a table of \(cosines.rows)")
        fill(to: min(cosines.rows, (needed + Self.step - 1) / Self.step * Self.step))
    }

    private mutating func fill(to count: Int) {
        for position in filledCount ..< max(count, filledCount) {
            for (pair, frequency) in frequencies.enumerated() {
                let angle = Double(position) * frequency
                cosines[position, pair] = Float(cos(angle) * magnitude)
                sines[position, pair] = Float(sin(angle) * magnitude)
            }
        }
        filledCount = max(count, filledCount)
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
        let (fast, slow) = (dimension(yarn.betaFast), dimension(yarn.betaSlow))
        let low = max(yarn.truncates ? floor(fast) : fast, 0)
        let high = min(yarn.truncates ? ceil(slow) : slow, Double(size - 1))
        // A range without width still needs a slope.
        let width = high == low ? 0.001 : high - low
        return plain.enumerated().map { pair, frequency in
            let ramp = min(max((Double(pair) - low) / width, 0), 1)
            return frequency / yarn.factor * ramp + frequency * (1 - ramp)
        }
    }
}
