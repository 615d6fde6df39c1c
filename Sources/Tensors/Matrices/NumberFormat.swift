internal import CKernels

/// How the numbers of a matrix are stored.
public enum NumberFormat: String, Sendable, CaseIterable, Codable {
    case float32, bfloat16
    /// e4m3fn with one Float32 scale per 128x128 block (`weight_scale_inv`), edges ragged.
    case float8e4m3
    /// Symmetric int8 (-127...127) with one Float32 scale per output.
    case int8
    /// Symmetric int4 (-8...7, stored plus 8), two to a byte, the even input in the lower nibble,
    /// with one scale per output and group of 32 inputs, in any `ScaleFormat` but float8e8m0.
    case int4
    /// e2m1, two to a byte as in int4, with a power of two (`ScaleFormat.float8e8m0`) per output
    /// and group of 32 inputs. Source: OCP Microscaling Formats 1.0, 5.2.
    case mxfp4
    /// IEEE half precision, of files alone: packing widens it to float32, exactly.
    case float16

    /// The formats that packed weights have.
    public static let packed: [NumberFormat] = [
        .float32, .bfloat16, .float8e4m3, .int8, .int4, .mxfp4,
    ]

    private var bits: Int {
        switch self {
        case .float32: 32
        case .bfloat16, .float16: 16
        case .float8e4m3, .int8: 8
        case .int4, .mxfp4: 4
        }
    }

    /// Bytes of some numbers, scales not counted.
    public func byteCount(of numbers: Int) -> Int { (numbers * bits + 7) / 8 }

    /// What the inputs of a matrix are a multiple of.
    public var inputMultiple: Int { isFourBit ? Int(CK_GROUP_BLOCK) : 1 }

    /// Whether two numbers share a byte.
    var isFourBit: Bool { self == .int4 || self == .mxfp4 }

    /// The kernels' name of it; for 4 bits, with scales of this format.
    func code(scales: ScaleFormat = .float32) -> Int32 {
        switch self {
        case .float32: Int32(CK_F32.rawValue)
        case .bfloat16: Int32(CK_BF16.rawValue)
        case .float8e4m3: Int32(CK_E4M3.rawValue)
        case .int8: Int32(CK_INT8.rawValue)
        case .int4: Int32((scales == .bfloat16 ? CK_INT4 : CK_INT4_F32).rawValue)
        case .mxfp4: Int32(CK_MXFP4.rawValue)
        case .float16: Int32(CK_F16.rawValue)
        }
    }

    /// Scales that come with a matrix in a checkpoint.
    public func scaleCount(outputs: Int, inputs: Int) -> Int {
        switch self {
        case .float32, .bfloat16, .float16: 0
        case .float8e4m3: (outputs + 127) / 128 * ((inputs + 127) / 128)
        case .int8: outputs
        case .int4, .mxfp4: outputs * (inputs / Int(CK_GROUP_BLOCK))
        }
    }
}

/// How the scales of a matrix in 4 bits are stored.
public enum ScaleFormat: Sendable {
    case float32, bfloat16, float16
    /// Two to the power of the byte less 127; 255 is no number.
    case float8e8m0

    /// Bytes of one scale.
    public var size: Int {
        switch self {
        case .float32: 4
        case .bfloat16, .float16: 2
        case .float8e8m0: 1
        }
    }

    var code: Int32 {
        switch self {
        case .float32: Int32(CK_F32.rawValue)
        case .bfloat16: Int32(CK_BF16.rawValue)
        case .float16: Int32(CK_F16.rawValue)
        case .float8e8m0: Int32(CK_E8M0.rawValue)
        }
    }
}
