internal import CKernels

/// A kind of matrix product whose loops are chosen apart from those of the others.
///
/// Inputs are rounded as `Compute.bfloat16` says, but those of `float32`. That kind also has the
/// products of `Compute.float32`, whatever the format of the weights.
public enum ProductKind: String, CaseIterable, Sendable {
    case float32, bfloat16, float8e4m3, int8, int4, mxfp4, attention

    var kind: ck_kind {
        switch self {
        case .float32: CK_KIND_F32
        case .bfloat16: CK_KIND_BF16
        case .float8e4m3: CK_KIND_E4M3
        case .int8: CK_KIND_INT8
        case .int4: CK_KIND_INT4
        case .mxfp4: CK_KIND_MXFP4
        case .attention: CK_KIND_ATTENTION
        }
    }

    /// Levels worth a measurement among those that a CPU has: of levels with the same loops for
    /// this kind, the one of the better CPU.
    func candidates(_ available: [Processor]) -> [Processor] {
        let compared: [Processor] =
            switch self {
            // AMX has AVX512-BF16's loops for all but bf16.
            case .bfloat16, .attention: [.avx2, .avx512, .avx512bf16, .amx, .neon]
            case .int8: [.avx2, .avxvnni, .avx512, .avx512vnni, .neon]
            case .float8e4m3, .float32, .int4, .mxfp4: [.avx2, .avx512, .avx512bf16, .neon]
            }
        let found = compared.filter(available.contains)
        return found.isEmpty ? [.portable] : found
    }
}

/// How a level computes the sums of a kind of product. Two levels with the same arithmetic give the
/// same bits; those of two arithmetics agree within rounding.
///
/// Operations on rows, and rounding, give the same bits at every level. The exception among equals:
/// sums of e4m3 blocks below 2^-118, and scales from 2^120 on, where AVX2 may round otherwise.
public enum Arithmetic: String, Sendable {
    /// Each product is rounded, then added.
    case plain
    /// One chain of fused multiply-adds in f32 per output: AVX2 and AVX-512.
    case fused
    /// The same chain by NEON, whose bits were not compared with those of another CPU.
    case neon
    /// Two products of bf16 are added to a sum at once: AVX512-BF16.
    case pairs
    /// An instruction adds 32 products, even and odd inputs in chains of their own: AMX.
    case tiles
    /// Sums of a block are integers, the same at every level.
    case integers

    /// Of a level, for a kind of product.
    public init(of level: Processor, _ kind: ProductKind) {
        self =
            switch (kind, level) {
            case (.int8, _): .integers
            case (_, .portable): .plain
            case (_, .neon): .neon
            case (.bfloat16, .amx), (.attention, .amx): .tiles
            case (.bfloat16, .avx512bf16), (.attention, .avx512bf16): .pairs
            case (.float8e4m3, .avx512bf16), (.float8e4m3, .amx): .pairs
            case (_, _): .fused
            }
    }
}
