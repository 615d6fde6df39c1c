import Encoding
import Tensors

// Matrices and small tensors of `RandomWeights`, as `WeightLoader` gives those of a folder.

/// A matrix that will be drawn, and everything that is packed from it.
struct RandomMatrix {
    let name: String
    let outputs: Int
    let inputs: Int
    let format: NumberFormat
    let parts: [WeightLoader.Part]

    /// Bytes that are drawn.
    var byteCount: Int {
        format.byteCount(of: outputs * inputs)
            + format.scaleCount(outputs: outputs, inputs: inputs)
    }

    /// Reserves the memory of every part.
    func packings(seed: UInt64) throws -> [WeightPacking] {
        let own = SplitMix64.mix(seed &+ FNV1a.hash(name.utf8))
        return try parts.map { part in
            let packing = try WeightPacking(
                random: own, format: format, outputs: outputs, inputs: inputs, rows: part.rows,
                transposed: part.transposed)
            part.slot.stored = packing.weight
            return packing
        }
    }
}

extension RandomWeights {
    /// What a loader packs of a matrix.
    func matrix(
        _ name: String, outputs: Int, inputs: Int, _ cuts: [(rows: Range<Int>?, transposed: Bool)]
    ) -> RandomMatrix {
        let format = format(name)
        return RandomMatrix(
            name: name, outputs: outputs, inputs: inputs, format: format,
            parts: cuts.map {
                WeightLoader.Part(
                    rows: $0.rows, transposed: $0.transposed,
                    slot: WeightLoader.Slot(format, "random weights"))
            })
    }

    /// A small tensor.
    func values(_ name: String, count: Int) -> [Float] {
        [Float](repeating: value(name), count: count)
    }
}
