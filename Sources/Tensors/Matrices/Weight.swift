internal import CKernels

/// How the numbers of a matrix are stored.
public enum NumberFormat: String, Sendable, CaseIterable, Codable {
    case float32, bfloat16
    /// e4m3fn with one Float32 scale per 128x128 block (`weight_scale_inv`), edges ragged.
    case float8e4m3
    /// Symmetric int8 (-127...127) with one Float32 scale per output.
    case int8
    /// IEEE half precision, of files alone: packing widens it to float32, exactly.
    case float16

    /// The formats that packed weights have.
    public static let packed: [NumberFormat] = [.float32, .bfloat16, .float8e4m3, .int8]

    /// Bytes of one number, scales not counted.
    public var size: Int {
        switch self {
        case .float32: 4
        case .bfloat16, .float16: 2
        case .float8e4m3, .int8: 1
        }
    }

    var code: Int32 {
        switch self {
        case .float32: Int32(CK_F32.rawValue)
        case .bfloat16: Int32(CK_BF16.rawValue)
        case .float8e4m3: Int32(CK_E4M3.rawValue)
        case .int8: Int32(CK_INT8.rawValue)
        case .float16: Int32(CK_F16.rawValue)
        }
    }

    /// Scales that come with a matrix in a checkpoint.
    public func scaleCount(outputs: Int, inputs: Int) -> Int {
        switch self {
        case .float32, .bfloat16, .float16: 0
        case .float8e4m3: (outputs + 127) / 128 * ((inputs + 127) / 128)
        case .int8: outputs
        }
    }
}

/// A matrix `[outputs, inputs]` packed for the kernels, which one row and many rows share.
///
/// Packing copies: the checkpoint's bytes may go afterwards.
@safe public final class Weight: @unchecked Sendable {
    // Safe because: nothing changes after init, or after the last piece of its `WeightPacking`.
    public let outputs: Int
    public let inputs: Int
    /// How the packed numbers are stored.
    ///
    /// Differs from the source's only for float16, and where a cut falls inside a scale block: both
    /// widen to float32 (see `init(format:outputs:inputs:...)`).
    public let format: NumberFormat
    /// Memory that the packed matrix takes, padding and scales included.
    public let byteCount: Int
    let packed: ck_weight
    private let scaleMemory: Int

    /// Packs a matrix, or a part of one, from the bytes of a checkpoint.
    ///
    /// - Parameters:
    ///   - format: How `bytes` holds the numbers.
    ///   - outputs, inputs: Shape of the whole matrix in `bytes`, row-major `[outputs, inputs]`.
    ///   - scales: Float32; float8e4m3: `[ceil(outputs/128), ceil(inputs/128)]`; int8: `[outputs]`.
    ///   - rows: The outputs to keep; all when nil.
    ///   - transposed: Packs the kept part with its sides exchanged, as absorbing `kv_b_proj` into
    ///     the queries needs.
    /// - Throws: `TensorError` when byte counts do not fit the shape.
    ///
    /// A cut of a float8e4m3 or int8 matrix that does not keep scale blocks whole is widened to
    /// float32, exactly.
    public convenience init(
        format: NumberFormat, outputs: Int, inputs: Int, bytes: RawSpan, scales: RawSpan? = nil,
        rows: Range<Int>? = nil, transposed: Bool = false
    ) throws(TensorError) {
        let source = MatrixSource(format: format, outputs: outputs, inputs: inputs)
        try source.check(byteCount: bytes.byteCount, scaleBytes: scales?.byteCount ?? 0)
        let part = MatrixPart(
            source: source, rows: rows ?? 0 ..< outputs, transposed: transposed)
        let values = unsafe bytes.withUnsafeBytes { unsafe UnsafeRawPointer($0.baseAddress!) }
        let factors = unsafe scales?.withUnsafeBytes { unsafe [Float](floats: $0) } ?? []
        if format == .int8 { try unsafe source.checkInt8(values) }
        self.init(reserving: part, scales: factors)
        let first = unsafe values + part.rows.lowerBound * part.rowBytes
        unsafe part.fill(packed, outputs: 0 ..< part.outputs, from: first, factors)
    }

    /// Memory for a part of a matrix, whose numbers are still zeros.
    init(reserving part: MatrixPart, scales: [Float]) {
        let rows = part.rows
        precondition(
            rows.lowerBound >= 0 && rows.upperBound <= part.source.outputs && !rows.isEmpty,
            "rows \(rows) of \(part.source.outputs)")
        unsafe packed = part.reserve(scales)
        outputs = part.outputs
        inputs = part.inputs
        format = part.packedFormat
        let packedBytes = ck_packed_bytes(format.code, Int32(part.outputs), Int32(part.inputs))
        scaleMemory =
            ck_packed_scales(format.code, Int32(part.outputs), Int32(part.inputs))
            * MemoryLayout<Float>.stride
        byteCount = packedBytes + scaleMemory
    }

    /// Packs a Float32 tensor `[outputs, inputs]`.
    public convenience init(_ tensor: Tensor) {
        // The bytes of a tensor always fit its shape.
        // swift-format-ignore: NeverUseForceTry
        try! self.init(
            format: .float32, outputs: tensor.rows, inputs: tensor.columns, bytes: tensor.bytes)
    }

    deinit {
        unsafe ck_free_packed(
            UnsafeMutableRawPointer(mutating: packed.data), byteCount - scaleMemory)
        if scaleMemory > 0 {
            unsafe ck_free_packed(UnsafeMutableRawPointer(mutating: packed.scales), scaleMemory)
        }
    }

    /// The matrix in Float32, scales applied, `[outputs, inputs]`.
    public func widened() -> Tensor {
        let tensor = Tensor(rows: outputs, columns: inputs)
        var weight = unsafe packed
        for output in 0 ..< outputs {
            unsafe ck_unpack_row(&weight, Int32(output), tensor.base + output * inputs)
        }
        return tensor
    }
}
