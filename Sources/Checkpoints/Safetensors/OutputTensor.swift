public import Tensors

/// A tensor of a file to be written.
public struct OutputTensor: Sendable, Hashable {
    /// The name it is stored under.
    public let name: String
    /// The type of its elements.
    public let type: StoredType
    /// Its extents, outermost first.
    public let shape: [Int]

    /// A tensor of this name, type and shape.
    public init(name: String, type: StoredType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }

    /// What follows the name of an e4m3 matrix in the name of its scales.
    public static let scaleSuffix = "_scale_inv"

    /// A matrix in e4m3, and its scales: one per block of 128 by 128, ragged at the edges.
    public static func float8(name: String, shape: [Int]) -> [OutputTensor] {
        [
            OutputTensor(name: name, type: .float8e4m3, shape: shape),
            OutputTensor(
                name: name + scaleSuffix, type: .float32, shape: scaleShape(shape)),
        ]
    }

    /// A matrix in 4 bits, its scales and its shape, as compressed-tensors stores them.
    ///
    /// - Parameter format: int4 or mxfp4.
    public static func fourBit(
        name: String, shape: [Int], format: NumberFormat
    ) -> [OutputTensor] {
        let (outputs, inputs) = (shape[0], shape[1])
        let isInteger = format == .int4
        let scales = OutputTensor(
            name: name + FourBitMatrix.Suffix.scales, type: isInteger ? .bfloat16 : .uint8,
            shape: [outputs, inputs / FourBitMatrix.group])
        return [
            OutputTensor(
                name: name + FourBitMatrix.Suffix.codes, type: isInteger ? .int32 : .uint8,
                shape: [outputs, inputs / (isInteger ? 8 : 2)]), scales,
        ]
            + (isInteger
                ? [OutputTensor(name: name + FourBitMatrix.Suffix.shape, type: .int64, shape: [2])]
                : [])
    }

    /// The matrices of all experts of a layer in MXFP4, and their scales: see `FusedMatrix`.
    public static func blocks(
        name: String, experts: Int, outputs: Int, inputs: Int
    ) -> [OutputTensor] {
        let names = FusedMatrix.partNames(of: name)
        let scales = [experts, outputs, inputs / FourBitMatrix.group]
        return [
            OutputTensor(
                name: names[0], type: .uint8, shape: scales + [FourBitMatrix.group / 2]),
            OutputTensor(name: names[1], type: .uint8, shape: scales),
        ]
    }

    /// The extents of the scales of a matrix in e4m3.
    package static func scaleShape(_ shape: [Int]) -> [Int] { shape.map { ($0 + 127) / 128 } }

    /// Rows: the outermost extent; a vector is one row.
    public var rows: Int { shape.count > 1 ? shape[0] : 1 }
    /// Values of one row.
    public var columns: Int { rows > 0 ? elementCount / rows : 0 }
    /// Numbers that one value holds: codes of 4 bits lie side by side.
    var numbersPerValue: Int {
        guard FourBitMatrix.matrixName(ofCodes: name) != nil else { return 1 }
        return type == .int32 ? 8 : 2
    }
    /// Values in all.
    public var elementCount: Int { shape.reduce(1, *) }
    /// Bytes in all.
    public var byteCount: Int { elementCount * type.byteCount }
}
