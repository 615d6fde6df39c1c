public import Tensors

/// The types that weights may have in a file, and what messages say of the others.
public enum WeightTypes {
    /// What is taken, for messages.
    static let taken =
        "F32, F16, BF16, F8_E4M3 with one scale per block of 128 by 128, and 4-bit numbers of "
        + "compressed-tensors (weight_packed) with one scale per 32 inputs"

    /// How the numbers of a matrix of this type are stored, nil for a type that is not taken.
    static func matrix(_ type: StoredType) -> NumberFormat? {
        type == .float8e4m3 ? .float8e4m3 : vector(type)
    }

    /// The same for a tensor without scales.
    public static func vector(_ type: StoredType) -> NumberFormat? {
        switch type {
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        default: nil
        }
    }

    /// What is wrong with the type of a matrix that ought to have this shape.
    static func fault(_ entry: TensorEntry, wanted shape: [Int]) -> String {
        let type = "dtype \(entry.type.rawValue)"
        // Formats of 4 bits keep two numbers in a byte.
        let isHalf =
            entry.shape.count == 2 && shape.count == 2 && entry.shape[0] == shape[0]
            && entry.shape[1] * 2 == shape[1]
        switch entry.type {
        case .uint8 where isHalf, .int8 where isHalf:
            return "\(type) of shape \(entry.shape) for \(shape), two 4-bit numbers in a byte, is "
                + "not taken; taken are \(taken)"
        case .int8, .uint8, .int32:
            return "\(type), quantised integers, is not taken; taken are \(taken)"
        default:
            return "\(type) is not taken; taken are \(taken)"
        }
    }
}
