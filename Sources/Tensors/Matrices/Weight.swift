internal import CKernels

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
    ///   - scales: float8e4m3: `[ceil(outputs/128), ceil(inputs/128)]`; int8: `[outputs]`; int4 and
    ///     mxfp4: `[outputs, inputs/32]`.
    ///   - scaleFormat: How `scales` holds them; Float32 but for int4 and mxfp4.
    ///   - rows: The outputs to keep; all when nil.
    ///   - transposed: Packs the kept part with its sides exchanged, as absorbing `kv_b_proj` into
    ///     the queries needs.
    /// - Throws: `TensorError` when byte counts do not fit the shape, or for a scale that is zero
    ///   or not finite in 4 bits.
    ///
    /// A cut of a float8e4m3 or int8 matrix that does not keep scale blocks whole, and a transposed
    /// one of 4 bits, is widened to float32: every number times its scale, rounded once.
    public convenience init(
        format: NumberFormat, outputs: Int, inputs: Int, bytes: RawSpan, scales: RawSpan? = nil,
        scaleFormat: ScaleFormat = .float32, rows: Range<Int>? = nil, transposed: Bool = false
    ) throws(TensorError) {
        let source = MatrixSource(
            format: format, outputs: outputs, inputs: inputs, scaleFormat: scaleFormat)
        try source.check(byteCount: bytes.byteCount, scaleBytes: scales?.byteCount ?? 0)
        let part = MatrixPart(
            source: source, rows: rows ?? 0 ..< outputs, transposed: transposed)
        let values = unsafe bytes.withUnsafeBytes { unsafe UnsafeRawPointer($0.baseAddress!) }
        let stored = unsafe scales?.withUnsafeBytes { unsafe $0 }
        let factors =
            unsafe format.isFourBit ? [] : stored.map { unsafe [Float](floats: $0) } ?? []
        if format == .int8 { try unsafe source.checkInt8(values) }
        self.init(reserving: part, scales: factors)
        let first = unsafe values + part.rows.lowerBound * part.rowBytes
        if format.isFourBit {
            let scales = unsafe stored!.baseAddress! + part.rows.lowerBound * part.scaleRowBytes
            try unsafe part.fillFourBit(
                packed, outputs: 0 ..< part.outputs, from: first, scales: scales)
        } else {
            unsafe part.fill(packed, outputs: 0 ..< part.outputs, from: first, factors)
        }
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
        scaleMemory = part.packedScaleBytes
        byteCount = part.packedBytes + scaleMemory
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

    /// Outputs of a panel: a product may be cut where a panel ends.
    public static let panelOutputs = Int(CK_PANEL)

    /// The panels of some outputs.
    ///
    /// - Precondition: the outputs begin where a panel does.
    func packed(_ outputs: Range<Int>) -> ck_weight {
        var part = unsafe packed
        let (format, columns) = unsafe (part.format, part.inputs)
        let first = Int32(outputs.lowerBound)
        unsafe part.outputs = Int32(outputs.count)
        unsafe part.data += ck_packed_bytes(format, first, columns)
        if let scales = unsafe part.scales {
            unsafe part.scales = unsafe scales + ck_packed_scales(format, first, columns)
        }
        return unsafe part
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
