internal import CKernels

/// Numbers of a random matrix as a file would hold them, of the same size in every format.
enum RandomNumbers {
    /// Every scale of e4m3: brings a standard deviation of 0.6 to 0.019.
    static let float8Scale: Float = 0x1p-5
    /// Every scale of int4, bf16 of 2^-8: brings 4.6 to 0.018.
    private static let int4Scale: UInt16 = 0x3b80
    /// Every scale of mxfp4, 2^-7: brings 2.9 to 0.023.
    private static let mxfp4Scale: UInt8 = 120

    /// How scales of random matrices are stored.
    static func scaleFormat(of format: NumberFormat) -> ScaleFormat {
        switch format {
        case .int4: .bfloat16
        case .mxfp4: .float8e8m0
        case .float32, .bfloat16, .float8e4m3, .int8, .float16: .float32
        }
    }

    /// Fills memory with numbers, from word `word` of 8 bytes of their sequence on.
    static func fill(
        _ target: UnsafeMutableRawPointer, count: Int, _ format: NumberFormat, seed: UInt64,
        word: Int
    ) {
        precondition(format != .int8 && format != .float16, "random numbers of \(format)")
        unsafe ck_fill_random(format.code(), seed, UInt64(word), target, count)
    }

    /// Fills memory with scales of 4 bits.
    static func fillScales(
        _ target: UnsafeMutableRawPointer, count: Int, _ source: MatrixSource
    ) {
        guard count > 0 else { return }
        if source.format == .mxfp4 {
            unsafe target.initializeMemory(as: UInt8.self, repeating: mxfp4Scale, count: count)
        } else {
            unsafe target.initializeMemory(
                as: UInt16.self, repeating: int4Scale, count: count / 2)
        }
    }
}
