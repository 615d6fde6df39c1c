internal import CKernels

extension Quantisation {
    /// The scales that `toFourBits` makes.
    private static func scaleFormat(_ format: NumberFormat) -> ScaleFormat {
        format == .mxfp4 ? .float8e8m0 : .bfloat16
    }

    /// Rounds a matrix to 4 bits with a scale per 32 values of a row.
    ///
    /// int4: the scale is max|group| / 7.5 in bf16, as compressed-tensors has it; mxfp4: the power
    /// of two that brings max|group| to 4...8 (OCP Microscaling Formats 1.0, 6.3). Ties go to the
    /// even code; a group of zeros has scale 1.
    ///
    /// - Returns: Codes and scales as `Weight` takes them, scales as bfloat16 or float8e8m0.
    /// - Throws: `TensorError.notFinite`.
    public static func toFourBits(
        _ matrix: Tensor, as format: NumberFormat
    ) throws(TensorError) -> (codes: [UInt8], scales: [UInt8]) {
        let scale = scaleFormat(format)
        let count = format.scaleCount(outputs: matrix.rows, inputs: matrix.columns)
        var codes = [UInt8](repeating: 0, count: format.byteCount(of: matrix.count))
        var scales = [UInt8](repeating: 0, count: count * scale.size)
        let wrong = unsafe codes.withUnsafeMutableBytes { codes in
            unsafe scales.withUnsafeMutableBytes { scales in
                unsafe ck_encode_fourbit(
                    format.code(scales: scale), matrix.base, Int32(matrix.rows),
                    Int32(matrix.columns), codes.baseAddress, scales.baseAddress)
            }
        }
        guard wrong < 0 else {
            throw .notFinite(output: wrong / matrix.columns, input: wrong % matrix.columns)
        }
        return (codes, scales)
    }

    /// Widens 4 bits: each number times its scale, rounded once.
    ///
    /// - Throws: `TensorError.scale` for a scale that is zero or not finite.
    public static func fromFourBits(
        _ codes: [UInt8], scales: [UInt8], format: NumberFormat, scaleFormat: ScaleFormat,
        into matrix: Tensor
    ) throws(TensorError) {
        let groups = matrix.columns / format.inputMultiple
        precondition(
            codes.count == format.byteCount(of: matrix.count)
                && matrix.columns % format.inputMultiple == 0
                && scales.count == matrix.rows * groups * scaleFormat.size,
            "\(codes.count) bytes, \(scales.count) of scales for \(matrix.rows)x\(matrix.columns)")
        let wrong = unsafe codes.withUnsafeBytes { codes in
            unsafe scales.withUnsafeBytes { scales in
                unsafe ck_decode_fourbit(
                    format.code(scales: scaleFormat), codes.baseAddress, scales.baseAddress,
                    scaleFormat.code, Int32(matrix.rows), Int32(matrix.columns), matrix.base)
            }
        }
        guard wrong < 0 else { throw .scale(output: wrong / groups, group: wrong % groups) }
    }
}
