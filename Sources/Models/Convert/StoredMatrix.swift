import Checkpoints
import Encoding
import Tensors

/// A tensor of a checkpoint that is to be converted, in whatever form it is stored.
struct StoredMatrix {
    /// How it is stored.
    enum Form {
        case plain(NumberFormat)
        case float8
        case fourBit(FourBitMatrix)
    }

    /// The name it has in plain form.
    let name: String
    let shape: [Int]
    let form: Form
    /// The shard of its numbers.
    let shardIndex: Int

    /// Whether a tensor is part of another, as scales are.
    static func isPart(_ name: String, in checkpoint: Checkpoint) -> Bool {
        let scales = BlockScales.suffixes.contains { suffix in
            name.hasSuffix(suffix)
                && checkpoint.tensors[String(name.dropLast(suffix.count))]?.entry.type
                    == .float8e4m3
        }
        guard !scales else { return true }
        // Codes are those of a `.weight` alone: what else ends in `_packed` is copied, and so is
        // what stands beside it.
        return [".weight_scale", ".weight_shape"].contains { suffix in
            name.hasSuffix(suffix)
                && FourBitMatrix.isStored(String(name.dropLast("_scale".count)), in: checkpoint)
        }
    }

    /// Checks a tensor and what belongs to it; nil for one that holds no numbers to convert.
    init?(_ place: Checkpoint.Located, in checkpoint: Checkpoint) throws {
        let entry = place.entry
        shardIndex = place.shardIndex
        if let name = FourBitMatrix.matrixName(ofCodes: entry.name) {
            shape = try FourBitMatrix.shape(ofCodes: place, in: checkpoint)
            self.name = name
            form = .fourBit(
                try FourBitMatrix(
                    name, outputs: shape[0], inputs: shape[1], origin: entry.name.printable(),
                    in: checkpoint))
            return
        }
        (name, shape) = (entry.name, entry.shape)
        if entry.type == .float8e4m3 {
            try BlockScales.locate(place, in: checkpoint)
            form = .float8
        } else if let format = WeightTypes.vector(entry.type) {
            form = .plain(format)
        } else {
            return nil
        }
    }

    /// Whether it is stored as plain numbers.
    var isPlain: Bool { if case .plain = form { true } else { false } }

    /// The format of its numbers.
    var numbers: NumberFormat {
        switch form {
        case .plain(let format): format
        case .float8: .float8e4m3
        case .fourBit(let matrix): matrix.format
        }
    }

    /// Some rows in Float32; those of FP8 begin at a multiple of 128.
    func widened(rows: Range<Int>, in checkpoint: Checkpoint) throws -> Tensor {
        if case .fourBit(let matrix) = form {
            return try matrix.widened(rows: rows, in: checkpoint)
        }
        let place = try checkpoint.locate(name)
        let columns = shape.count > 1 ? shape.dropFirst().reduce(1, *) : shape.reduce(1, *)
        let rowBytes = numbers.byteCount(of: columns)
        let start = place.entry.bytes.lowerBound
        let range = start + rows.lowerBound * rowBytes ..< start + rows.upperBound * rowBytes
        let file = checkpoint.shards[place.shardIndex]
        defer { file.release(range) }
        let values = Tensor(rows: rows.count, columns: columns)
        guard case .float8 = form else {
            file.withBytes(range) { bytes in
                var span = values.mutableSpan
                Quantisation.widen(bytes, as: numbers, into: &span)
            }
            return values
        }
        let scales = try BlockScales(of: place, in: checkpoint)
        let blocks = rows.lowerBound / 128 ..< (rows.upperBound + 127) / 128
        let kept = blocks.lowerBound * scales.columns ..< blocks.upperBound * scales.columns
        file.withBytes(range) {
            Quantisation.fromFloat8($0, scales: Array(scales.values[kept]), into: values)
        }
        return values
    }
}
