import Encoding
import Tensors

/// The scales of an F8_E4M3 matrix: one per block of 128 by 128, ragged at the edges.
///
/// DeepSeek calls them `weight_scale_inv`, compressed-tensors `weight_scale`. Both are factors of
/// the stored numbers.
public struct BlockScales: Sendable {
    /// What follows the name of a matrix in the name of its scales, DeepSeek's way first.
    public static let suffixes = [OutputTensor.scaleSuffix, "_scale"]

    /// The factors, row by row of blocks.
    public let values: [Float]
    /// Blocks side by side.
    public let columns: Int

    /// Reads and checks the scales of a matrix.
    ///
    /// - Throws: `CheckpointError` that names the tensor of scales, what it is, and what is taken.
    public init(of matrix: Checkpoint.Located, in checkpoint: Checkpoint) throws {
        let place = try Self.locate(matrix, in: checkpoint)
        columns = place.entry.shape[1]
        values = try Self.widened(place, in: checkpoint)
        let columns = columns
        if let index = values.firstIndex(where: { !$0.isFinite }) {
            throw Self.fault(
                place, checkpoint,
                "block [\(index / columns), \(index % columns)] has scale \(values[index]); "
                    + "a scale is finite")
        }
    }

    /// The name of the scales that a folder has for a matrix, nil without any.
    public static func name(of matrix: String, in checkpoint: Checkpoint) -> String? {
        suffixes.lazy.map { matrix + $0 }.first { checkpoint.tensors[$0] != nil }
    }

    /// Finds the scales and checks their type and shape.
    @discardableResult
    public static func locate(
        _ matrix: Checkpoint.Located, in checkpoint: Checkpoint
    ) throws -> Checkpoint.Located {
        let (name, shape) = (matrix.entry.name, matrix.entry.shape)
        guard shape.count == 2 else {
            throw fault(
                matrix, checkpoint, "F8_E4M3 of shape \(shape); only matrices have block scales")
        }
        let limit = Int(Int32.max)
        guard shape.allSatisfy({ $0 <= limit }) else {
            throw fault(matrix, checkpoint, "shape \(shape) has a side above \(limit)")
        }
        guard let scaleName = Self.name(of: name, in: checkpoint) else {
            let other = checkpoint.tensors.keys.filter { $0.hasPrefix(name + "_") }.sorted()
            let found = other.isEmpty ? "" : "; the folder has \(other[0].printable())"
            throw fault(
                matrix, checkpoint,
                "is F8_E4M3 and has no scales\(found); taken is one scale per block of 128 by 128, "
                    + "called \((name + suffixes[0]).printable()) or \(suffixes[1])")
        }
        let place = try checkpoint.locate(scaleName)
        let wanted = OutputTensor.scaleShape(shape)
        guard place.entry.shape == wanted else {
            throw fault(
                place, checkpoint,
                "shape \(place.entry.shape)\(kind(place.entry.shape, of: shape)); taken is "
                    + "one scale per block of 128 by 128, \(wanted)")
        }
        guard types.contains(place.entry.type) else {
            throw fault(
                place, checkpoint,
                "dtype \(place.entry.type.rawValue) of scales is none of "
                    + types.map(\.rawValue).joined(separator: ", "))
        }
        return place
    }

    /// The types that scales may have.
    private static let types: [StoredType] = [.float32, .bfloat16, .float16, .float8e8m0]

    /// What a shape of scales that is not taken means.
    private static func kind(_ scales: [Int], of shape: [Int]) -> String {
        let count = scales.reduce(1, *)
        if count == 1 { return ", one scale for the tensor" }
        if count == shape[0] { return ", one scale per row" }
        if scales.count == 2, scales[0] == shape[0], shape[1].isMultiple(of: max(1, scales[1])) {
            return ", one scale per \(shape[1] / max(1, scales[1])) values of a row"
        }
        return ""
    }

    private static func widened(
        _ place: Checkpoint.Located, in checkpoint: Checkpoint
    ) throws -> [Float] {
        let bytes = try checkpoint.readBytes(of: place)
        guard let format = WeightTypes.vector(place.entry.type) else {
            return bytes.map(powerOfTwo)
        }
        return Quantisation.widened(bytes, as: format)
    }

    /// The value of an E8M0 byte: two to the power of the byte less 127, and 255 is no number.
    static func powerOfTwo(_ byte: UInt8) -> Float {
        byte == 255 ? .nan : byte == 0 ? 0x1p-127 : Float(bitPattern: UInt32(byte) << 23)
    }

    private static func fault(
        _ place: Checkpoint.Located, _ checkpoint: Checkpoint, _ fact: String
    ) -> CheckpointError {
        .tensor(
            file: checkpoint.file(of: place), name: place.entry.name.printable(), fact: fact)
    }
}
