import Encoding
import Foundation
import Models
import Tensors

extension Parameter {
    /// Normal values of the given deviation; ones for a norm's weight.
    func start(seed: UInt64, deviation: Double) {
        if isVector { return value.fill(1) }
        var random = SplitMix64(seed: seed, name: name)
        let columns = value.columns
        for row in 0 ..< value.rows {
            for column in stride(from: 0, to: columns, by: 2) {
                // Box and Muller 1958.
                let radius = deviation * (-2 * log(random.positiveUniform())).squareRoot()
                let angle = 2 * .pi * random.positiveUniform()
                value[row, column] = Float(radius * cos(angle))
                if column + 1 < columns {
                    value[row, column + 1] = Float(radius * sin(angle))
                }
            }
        }
    }
}
