/// What can be wrong with numbers that came from outside.
public enum TensorError: Error, Equatable, CustomStringConvertible {
    /// A matrix or its scales came with another number of bytes than its shape needs.
    case byteCount(of: String, is: Int, needs: Int)
    /// A matrix without a side, or too large for an index.
    case shape(outputs: Int, inputs: Int)
    /// A matrix whose scales belong to whole groups of inputs has a part of one.
    case groups(inputs: Int, size: Int)
    /// A scale of a group of inputs is zero or not finite; the output and the group.
    case scale(output: Int, group: Int)
    /// A number that has no code in 4 bits.
    case notFinite(output: Int, input: Int)
    /// -128 has no opposite, so a symmetric int8 weight never holds it.
    case int8Minimum(output: Int, input: Int)
    /// `APUS_CPU` names no level of instructions.
    case level(name: String)

    public var description: String {
        switch self {
        case .byteCount(let of, let actual, let needed):
            "\(of) has \(actual) bytes; its shape needs \(needed)"
        case .shape(let outputs, let inputs):
            "a matrix of \(outputs) outputs and \(inputs) inputs; each must be 1...2147483647"
        case .groups(let inputs, let size):
            "a matrix of \(inputs) inputs, no multiple of \(size), which share a scale"
        case .scale(let output, let group):
            "scale [\(output), \(group)] is zero or not finite; a scale is neither"
        case .notFinite(let output, let input):
            "value [\(output), \(input)] is not finite; 4 bits hold finite numbers"
        case .int8Minimum(let output, let input):
            "int8 weight [\(output), \(input)] is -128; symmetric int8 ends at -127"
        case .level(let name):
            "APUS_CPU is \"\(name)\"; it is one of "
                + Processor.allCases.map(\.rawValue).joined(separator: ", ")
                + ", or not set for the best of the CPU"
        }
    }
}
