import Encoding
public import Tensors

/// A matrix of 4-bit numbers as compressed-tensors stores it: codes, scales, and its shape.
///
/// `pack-quantized`: `weight_packed` I32 `[outputs, inputs/8]`, the first input in the lowest bits,
/// each the number plus 8; `weight_scale` BF16, F16 or F32 `[outputs, inputs/32]`; `weight_shape`.
/// `mxfp4-pack-quantized`: `weight_packed` U8 `[outputs, inputs/2]`, e2m1, the first input in the
/// lower nibble; `weight_scale` U8 or F8_E8M0 `[outputs, inputs/32]`, powers of two.
public struct FourBitMatrix: Sendable {
    /// What follows the name of a matrix in the names of its tensors.
    enum Suffix {
        static let codes = "_packed"
        static let scales = "_scale"
        static let shape = "_shape"
    }

    /// What is taken, for messages.
    static let taken =
        "taken is one scale per 32 inputs, symmetric (weight_packed, weight_scale, weight_shape)"

    /// Inputs that share a scale.
    static let group = 32

    /// int4 or mxfp4.
    public let format: NumberFormat
    /// The codes.
    let codes: Checkpoint.Located
    /// The scales.
    let scales: Checkpoint.Located
    let scaleFormat: ScaleFormat
    let outputs: Int
    let inputs: Int

    /// Whether a folder has a matrix of this name in 4 bits.
    public static func isStored(_ name: String, in checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors[name + Suffix.codes] != nil
    }

    /// The names that the parts of a matrix have.
    public static func partNames(of name: String) -> [String] {
        [name + Suffix.codes, name + Suffix.scales, name + Suffix.shape]
    }

    /// The matrix that a tensor is a part of, nil for one that ends otherwise.
    public static func matrixName(ofCodes name: String) -> String? {
        name.hasSuffix(".weight" + Suffix.codes)
            ? String(name.dropLast(Suffix.codes.count)) : nil
    }

    /// The extents that codes stand for.
    ///
    /// - Throws: `CheckpointError` for a tensor that holds no codes.
    public static func shape(
        ofCodes codes: Checkpoint.Located, in checkpoint: Checkpoint
    ) throws -> [Int] {
        let entry = codes.entry
        guard entry.shape.count == 2, let format = format(entry.type) else {
            throw fault(
                codes, checkpoint,
                "\(entry.type.rawValue) of shape \(entry.shape) holds no matrix of 4-bit numbers; "
                    + "they are I32 (int4) or U8 (mxfp4)")
        }
        let numbers = format == .int4 ? 8 : 2
        let limit = Int(Int32.max)
        guard (1 ... limit).contains(entry.shape[0]),
            (1 ... limit / numbers).contains(entry.shape[1])
        else {
            throw fault(
                codes, checkpoint,
                "shape \(entry.shape) with \(numbers) numbers per \(entry.type.rawValue) has a "
                    + "side outside 1...\(limit)")
        }
        return [entry.shape[0], entry.shape[1] * numbers]
    }

    private static func format(_ type: StoredType) -> NumberFormat? {
        type == .int32 ? .int4 : type == .uint8 ? .mxfp4 : nil
    }

    /// Finds the parts of a matrix and checks their types and shapes, and what is stored as shape.
    ///
    /// - Parameter origin: What makes the matrix of these sizes, for messages.
    public init(
        _ name: String, outputs: Int, inputs: Int, origin: String = "config.json",
        in checkpoint: Checkpoint
    ) throws {
        codes = try checkpoint.locate(name + Suffix.codes)
        let shape = [outputs, inputs]
        (self.outputs, self.inputs) = (outputs, inputs)
        let found = try Self.shape(ofCodes: codes, in: checkpoint)
        format = codes.entry.type == .int32 ? .int4 : .mxfp4
        guard found == shape else {
            throw Self.fault(
                codes, checkpoint,
                "shape \(codes.entry.shape) of \(codes.entry.type.rawValue) is a matrix \(found); "
                    + "\(origin) makes it \(shape)")
        }
        guard inputs.isMultiple(of: Self.group) else {
            throw Self.fault(
                codes, checkpoint,
                "\(inputs) inputs are no multiple of \(Self.group); \(Self.taken)")
        }
        try Self.refuseOthers(name, checkpoint)
        scales = try checkpoint.locate(name + Suffix.scales)
        scaleFormat = try Self.scaleFormat(scales, of: format, shape, checkpoint)
        if let place = checkpoint.tensors[name + Suffix.shape] {
            try Self.check(place, shape, origin, checkpoint)
        }
    }

    /// Refuses a matrix with parts that change its numbers and are not read.
    private static func refuseOthers(_ name: String, _ checkpoint: Checkpoint) throws {
        let others = [
            ("_g_idx", "an order of groups (actorder)"),
            ("_zero_point", "zero points of an asymmetric form"),
            ("_global_scale", "the second scale of NVFP4"),
        ]
        for (suffix, meaning) in others {
            guard let place = checkpoint.tensors[name + suffix] else { continue }
            throw fault(place, checkpoint, "\(meaning), is not taken; \(taken)")
        }
        if let place = checkpoint.tensors[name] {
            throw fault(
                place, checkpoint,
                "is stored twice, also as \((name + Suffix.codes).printable()); taken is one"
            )
        }
    }

    private static func scaleFormat(
        _ scales: Checkpoint.Located, of format: NumberFormat, _ shape: [Int],
        _ checkpoint: Checkpoint
    ) throws -> ScaleFormat {
        let entry = scales.entry
        let wanted = [shape[0], shape[1] / group]
        guard entry.shape == wanted else {
            let isGrouped =
                entry.shape.count == 2 && entry.shape[0] == shape[0] && entry.shape[1] > 0
            let size = isGrouped ? shape[1] / entry.shape[1] : 0
            let kind = size > 0 ? ", one scale per \(size) inputs" : ""
            throw fault(
                scales, checkpoint,
                "shape \(entry.shape)\(kind); taken is one per \(group), \(wanted)")
        }
        let types: [StoredType: ScaleFormat] =
            format == .int4
            ? [.bfloat16: .bfloat16, .float16: .float16, .float32: .float32]
            : [.uint8: .float8e8m0, .float8e8m0: .float8e8m0]
        guard let found = types[entry.type] else {
            throw fault(
                scales, checkpoint,
                "dtype \(entry.type.rawValue) of scales of \(format.rawValue) is none of "
                    + types.keys.map(\.rawValue).sorted().joined(separator: ", "))
        }
        return found
    }

    /// Checks `weight_shape`, two integers.
    private static func check(
        _ place: Checkpoint.Located, _ shape: [Int], _ origin: String, _ checkpoint: Checkpoint
    ) throws {
        let size = place.entry.type.byteCount
        guard [.int32, .int64].contains(place.entry.type), place.entry.shape == [2] else {
            throw fault(
                place, checkpoint,
                "\(place.entry.type.rawValue) of shape \(place.entry.shape); taken are two of "
                    + "I32 or I64")
        }
        let bytes = try checkpoint.readBytes(of: place)
        let found = (0 ..< 2).map { number in
            bytes[number * size ..< (number + 1) * size].reversed().reduce(0) {
                $0 << 8 | UInt64($1)
            }
        }
        guard found == shape.map(UInt64.init) else {
            throw fault(place, checkpoint, "is \(found); \(origin) makes it \(shape)")
        }
    }

    /// Some rows, widened: each number times its scale.
    ///
    /// - Throws: `CheckpointError` that names a scale that is zero or not finite.
    public func widened(rows: Range<Int>, in checkpoint: Checkpoint) throws -> Tensor {
        func bytes(_ place: Checkpoint.Located, _ row: Int) -> [UInt8] {
            let first = place.entry.bytes.lowerBound
            let range = first + rows.lowerBound * row ..< first + rows.upperBound * row
            let shard = checkpoint.shards[place.shardIndex]
            defer { shard.release(range) }
            return shard.copyBytes(range)
        }
        let matrix = Tensor(rows: rows.count, columns: inputs)
        do throws(TensorError) {
            try Quantisation.fromFourBits(
                bytes(codes, format.byteCount(of: inputs)),
                scales: bytes(scales, inputs / Self.group * scaleFormat.size), format: format,
                scaleFormat: scaleFormat, into: matrix)
        } catch {
            guard case .scale(let output, let group) = error else { throw error }
            throw scaleFault(output: rows.lowerBound + output, group: group, in: checkpoint)
        }
        return matrix
    }

    /// What is wrong with a scale that packing refused.
    func scaleFault(output: Int, group: Int, in checkpoint: Checkpoint) -> CheckpointError {
        let place = "scale [\(output), \(group)]"
        let first =
            scales.entry.bytes.lowerBound
            + (output * (inputs / Self.group) + group) * scaleFormat.size
        let bytes = checkpoint.shards[scales.shardIndex].copyBytes(
            first ..< first + scaleFormat.size)
        let value =
            WeightTypes.vector(scales.entry.type).map { Quantisation.widened(bytes, as: $0)[0] }
            ?? BlockScales.powerOfTwo(bytes[0])
        return Self.fault(
            scales, checkpoint, "\(place) is \(value); a scale is finite and not zero")
    }

    private static func fault(
        _ place: Checkpoint.Located, _ checkpoint: Checkpoint, _ fact: String
    ) -> CheckpointError {
        .tensor(
            file: checkpoint.file(of: place), name: place.entry.name.printable(), fact: fact)
    }
}
