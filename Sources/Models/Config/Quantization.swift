import Encoding

/// How FP8 weights are stored: e4m3 with one scale per block.
///
/// One form has two descriptions: DeepSeek's `fp8` and the `float-quantized` of
/// compressed-tensors. It is written in the first.
public struct Quantization: Codable, Sendable, Equatable {
    /// Rows and columns that share a scale; 128 by 128 in every release.
    static let block = [128, 128]

    /// Block-scaled e4m3 as DeepSeek-V3 is released.
    public init() {}

    enum CodingKeys: String, CodingKey {
        case method = "quant_method"
        case format = "fmt"
        case blockSize = "weight_block_size"
        case activationScheme = "activation_scheme"
    }

    /// Takes what `QuantizationKeys.check` let pass.
    public init(from decoder: any Decoder) throws {}

    /// Writes the published keys.
    public func encode(to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: CodingKeys.self)
        try box.encode("fp8", forKey: .method)
        try box.encode("e4m3", forKey: .format)
        try box.encode(Self.block, forKey: .blockSize)
        try box.encode("dynamic", forKey: .activationScheme)
    }

    /// The published keys and their values, as text is edited.
    static let published: JSONValue = [
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
        "weight_block_size": .array(block.map { .number($0) }),
    ]
}
