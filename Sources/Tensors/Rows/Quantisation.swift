internal import CKernels

/// Conversion of whole matrices between Float32 and the formats of a checkpoint, bit for bit what
/// PyTorch's casts give.
public enum Quantisation {
    /// Widens numbers that carry no scale (float32, bfloat16, float16, or e4m3 and int8 taken
    /// raw).
    public static func widen(
        _ bytes: RawSpan, as format: NumberFormat, into target: inout MutableSpan<Float>
    ) {
        precondition(
            bytes.byteCount == format.byteCount(of: target.count) && !format.isFourBit,
            "\(bytes.byteCount) bytes of \(format) for \(target.count) values")
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe target.withUnsafeMutableBufferPointer { target in
                guard let from = bytes.baseAddress, let to = target.baseAddress else { return }
                unsafe ck_decode(format.code(), from, to, target.count)
            }
        }
    }

    /// The same from bytes that were copied from a file.
    public static func widened(_ bytes: [UInt8], as format: NumberFormat) -> [Float] {
        var values = [Float](repeating: 0, count: bytes.count / format.byteCount(of: 1))
        var target = values.mutableSpan
        unsafe widen(bytes.span.bytes, as: format, into: &target)
        return values
    }

    /// Rounds to bf16, nearest even.
    package static func toBFloat16(_ values: Span<Float>, into target: inout MutableRawSpan) {
        precondition(
            target.byteCount == values.count * 2,
            "\(target.byteCount) bytes for \(values.count) bf16 values")
        unsafe values.withUnsafeBufferPointer { values in
            unsafe target.withUnsafeMutableBytes { target in
                guard let from = values.baseAddress, let to = target.baseAddress else { return }
                unsafe ck_bf16_encode(from, to.assumingMemoryBound(to: UInt16.self), values.count)
            }
        }
    }

    /// The bf16 patterns nearest to values, ties to even, low byte first.
    public static func bfloat16Bytes(_ values: Span<Float>) -> [UInt8] {
        var patterns = [UInt16](repeating: 0, count: values.count)
        unsafe values.withUnsafeBufferPointer { values in
            guard let from = values.baseAddress else { return }
            unsafe ck_bf16_encode(from, &patterns, values.count)
        }
        return unsafe patterns.withUnsafeBytes { unsafe Array($0) }
    }

    /// Quantises a matrix to e4m3 with one scale per 128x128 block, ragged at the edges.
    ///
    /// The scale is max|block| / 448, or the next power of two; a block of zeros has scale 1.
    public static func toFloat8(
        _ matrix: Tensor, powerOfTwo: Bool = false
    ) -> (bytes: [UInt8], scales: [Float]) {
        let scaleCount = NumberFormat.float8e4m3.scaleCount(
            outputs: matrix.rows, inputs: matrix.columns)
        var bytes = [UInt8](repeating: 0, count: matrix.count)
        var scales = [Float](repeating: 0, count: scaleCount)
        unsafe ck_e4m3_encode_blocks(
            matrix.base, Int32(matrix.rows), Int32(matrix.columns), &bytes, &scales, powerOfTwo)
        return (bytes, scales)
    }

    /// Widens e4m3 with 128x128 block scales.
    public static func fromFloat8(_ bytes: RawSpan, scales: [Float], into matrix: Tensor) {
        precondition(
            bytes.byteCount == matrix.count
                && scales.count
                    == NumberFormat.float8e4m3.scaleCount(
                        outputs: matrix.rows, inputs: matrix.columns),
            "\(bytes.byteCount) bytes, \(scales.count) scales for \(matrix.rows)x\(matrix.columns)")
        unsafe bytes.withUnsafeBytes { bytes in
            guard let from = bytes.baseAddress else { return }
            unsafe ck_e4m3_decode_blocks(
                from.assumingMemoryBound(to: UInt8.self), scales, Int32(matrix.rows),
                Int32(matrix.columns), matrix.base)
        }
    }

    /// The value of one e4m3 byte.
    public static func float8(_ byte: UInt8) -> Float { ck_from_e4m3(byte) }
    /// The e4m3 byte nearest to a value, ties to even, saturating at 448.
    public static func float8(nearest value: Float) -> UInt8 { ck_to_e4m3(value) }
    /// The bf16 pattern nearest to a value, ties to even.
    public static func bfloat16(nearest value: Float) -> UInt16 { ck_to_bf16(value) }
    /// The value of one bf16 pattern.
    public static func bfloat16(_ pattern: UInt16) -> Float { ck_from_bf16(pattern) }
}
