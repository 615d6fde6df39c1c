internal import CKernels

/// How a matrix product treats its activations.
public enum Compute: String, Sendable, CaseIterable {
    /// Activations stay Float32, weights are widened exactly.
    case float32
    /// Activations are rounded to bf16 on entry, or to int8 with a scale per 128 of them where the
    /// weight is int8; sums stay Float32.
    case bfloat16

    var code: Int32 {
        switch self {
        case .float32: Int32(CK_COMPUTE_F32.rawValue)
        case .bfloat16: Int32(CK_COMPUTE_BF16.rawValue)
        }
    }
}

/// The instructions that the kernels may use, worst first.
///
/// Chosen once from the CPU by name; the environment variable `APUS_CPU` (portable, avx2, avxvnni,
/// avx512, avx512vnni, avx512bf16, neon, amx) names another. Each kind of product may take the
/// loops of another level than the rest (`KernelChoice`). `Arithmetic` says which levels give the
/// same bits.
public enum Processor: String, Sendable, CaseIterable, Comparable {
    case portable, avx2, avxvnni, avx512, avx512vnni, avx512bf16, neon, amx

    /// The level that the kernels use now.
    public static var inUse: Processor { of(ck_level_in_use()) }
    /// The best level of this CPU.
    public static var best: Processor { of(ck_level_of_cpu()) }

    public static func < (a: Processor, b: Processor) -> Bool {
        a.level.rawValue < b.level.rawValue
    }

    /// Makes the process use this level, or the CPU's best if that is lower.
    ///
    /// Returns the level in force. Not while kernels run: it is for tests and for measuring one
    /// level against another.
    @discardableResult public func use() -> Processor { Self.of(ck_set_level(level)) }

    /// Whether this CPU has the level, and the system gives what it needs.
    var isAvailable: Bool { ck_has_level(level) }

    /// Makes one kind of product take this level's loops, until a level is set for all.
    ///
    /// Not while kernels run.
    func use(for kind: ProductKind) { ck_set_level_of_kind(kind.kind, level) }

    /// The level whose loops a kind of product takes now.
    static func inUse(for kind: ProductKind) -> Processor { of(ck_level_of_kind(kind.kind)) }

    private var level: ck_level {
        switch self {
        case .portable: CK_PORTABLE
        case .avx2: CK_AVX2
        case .avxvnni: CK_AVXVNNI
        case .avx512: CK_AVX512
        case .avx512vnni: CK_AVX512VNNI
        case .avx512bf16: CK_AVX512BF16
        case .neon: CK_NEON
        case .amx: CK_AMX
        }
    }

    private static func of(_ level: ck_level) -> Processor {
        allCases.first { $0.level == level } ?? .portable
    }
}
