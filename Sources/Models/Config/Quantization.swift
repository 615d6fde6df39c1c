import Encoding
import Tensors

/// How a checkpoint stores matrices that it does not store as plain numbers.
///
/// FP8 has two descriptions: DeepSeek's `fp8` and the `float-quantized` of compressed-tensors. It
/// is written in the first. 4-bit numbers have one, of compressed-tensors; gpt-oss has another for
/// tensors of all experts.
public struct Quantization: Codable, Sendable, Equatable {
    /// How a matrix is stored.
    public enum Form: Sendable, Equatable {
        /// e4m3 with one scale per block.
        case float8
        /// `pack-quantized`: -8...7 with one scale per 32 inputs.
        case int4
        /// `mxfp4-pack-quantized`: e2m1 with one power of two per 32 inputs.
        case mxfp4
        /// `quant_method` mxfp4, of gpt-oss: the tensors of all experts in blocks of e2m1.
        case mxfp4Blocks

        /// The numbers of it.
        var numbers: NumberFormat {
            switch self {
            case .float8: .float8e4m3
            case .int4: .int4
            case .mxfp4, .mxfp4Blocks: .mxfp4
            }
        }
    }

    /// Rows and columns that share a scale of FP8; 128 by 128 in every release.
    static let block = [128, 128]

    /// How those are stored that are.
    let form: Form
    /// Which modules are quantised, of 4 bits.
    private let targets: NamePatterns
    /// Which of these are not.
    private let ignored: NamePatterns

    private init(_ form: Form, targets: NamePatterns, ignored: NamePatterns) {
        self.form = form
        self.targets = targets
        self.ignored = ignored
    }

    /// Block-scaled e4m3 as DeepSeek-V3 is released.
    public init() { self.init(.float8, targets: NamePatterns(), ignored: NamePatterns()) }

    /// Modules that `ignore` names at most where naming the others would be shorter.
    static let exceptionLimit = 1000

    /// The form in which gpt-oss is released.
    static let blocks = Quantization(
        .mxfp4Blocks, targets: NamePatterns(), ignored: NamePatterns())

    /// 4-bit numbers for some modules and not for the others.
    ///
    /// Programs that serve experts expect the target `Linear`, so all others are excepted from
    /// it, unless they are so many that config.json would be too large to be read.
    init(_ form: Form, of modules: [String], besides others: [String]) throws {
        precondition(form == .int4 || form == .mxfp4, "\(form) names no modules")
        let isShorter = others.count > max(modules.count, Self.exceptionLimit)
        self.init(
            form, targets: try NamePatterns(isShorter ? modules : [Self.linear]),
            ignored: try NamePatterns(isShorter ? [] : others))
    }

    /// What `targets` has for every matrix product.
    private static let linear = "Linear"

    /// Before the names of a text model's modules where it stands beside a vision tower.
    private static let textPrefix = "language_model."

    /// How a tensor is stored; nil for plain numbers.
    func form(of tensor: NetworkTensor) -> Form? {
        switch form {
        case .float8: return tensor.role == .projection ? form : nil
        case .mxfp4Blocks: return tensor.role == .fused ? form : nil
        case .int4, .mxfp4: break
        }
        guard Self.mayHaveFourBits(tensor) else { return nil }
        let isTaken = Self.include(tensor.module, targets)
        return isTaken && !Self.include(tensor.module, ignored) ? form : nil
    }

    /// Whether the network reads a tensor in 4 bits, if it is stored so.
    static func mayHaveFourBits(_ tensor: NetworkTensor) -> Bool {
        tensor.role == .projection || tensor.isHead
    }

    /// Whether names include the module of a matrix product: by its class, by its name in the
    /// checkpoint, or by its name in the text model, where a `text_config` describes weights.
    private static func include(_ module: String, _ names: NamePatterns) -> Bool {
        if names.contains(linear) || names.matches(module) { return true }
        return module.hasPrefix(textPrefix)
            && names.matches(String(module.dropFirst(textPrefix.count)))
    }

    enum CodingKeys: String, CodingKey {
        case method = "quant_method"
        case format = "fmt"
        case blockSize = "weight_block_size"
        case activationScheme = "activation_scheme"
        case packing = "format"
        case groups = "config_groups"
        case ignored = "ignore"
    }

    private struct Group: Decodable {
        let targets: [String]?
    }

    /// Takes what `QuantizationKeys.check` let pass.
    public init(from decoder: any Decoder) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        if try box.decodeIfPresent(String.self, forKey: .method) == QuantizationKeys.blockMethod {
            self = .blocks
            return
        }
        let packing = try box.decodeIfPresent(String.self, forKey: .packing) ?? ""
        guard let form = QuantizationKeys.fourBitForms[packing]?.form else {
            self.init()
            return
        }
        let groups = try box.decode([String: Group].self, forKey: .groups)
        let targets = groups.keys.sorted().flatMap { groups[$0]?.targets ?? [Self.linear] }
        let ignored = try box.decodeIfPresent([String].self, forKey: .ignored) ?? []
        self.init(
            form, targets: try NamePatterns(targets), ignored: try NamePatterns(ignored))
    }

    /// Writes the published keys.
    public func encode(to encoder: any Encoder) throws {
        var box = encoder.singleValueContainer()
        try box.encode(Written(published))
    }

    /// The published keys and their values.
    var published: JSONValue {
        guard form != .float8 else {
            return [
                "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                "weight_block_size": .array(Self.block.map { .number($0) }),
            ]
        }
        guard form != .mxfp4Blocks else {
            return [
                "modules_to_not_convert": [
                    "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
                    "lm_head",
                ],
                "quant_method": .string(QuantizationKeys.blockMethod),
            ]
        }
        let fourBit = QuantizationKeys.fourBitForms.first { $0.value.form == form }
        var weights: [(key: String, value: JSONValue)] = [
            ("actorder", .null), ("block_structure", .null), ("dynamic", .bool(false)),
        ]
        weights += (fourBit?.value.weights ?? []).map { ($0.key, $0.value) }
        return [
            "config_groups": [
                "group_0": [
                    "input_activations": .null, "output_activations": .null,
                    "targets": .array(targets.texts.map { .string($0) }),
                    "weights": .object(weights),
                ]
            ],
            "format": .string(fourBit?.key ?? ""),
            "ignore": .array(ignored.texts.map { .string($0) }),
            "kv_cache_scheme": .null, "quant_method": "compressed-tensors",
            "quantization_status": "compressed",
        ]
    }
}

/// A JSON value on its way through an encoder.
private struct Written: Encodable {
    let value: JSONValue

    init(_ value: JSONValue) { self.value = value }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func encode(to encoder: any Encoder) throws {
        if let members = value.object {
            var box = encoder.container(keyedBy: Name.self)
            for (key, value) in members {
                try box.encode(Written(value), forKey: Name(stringValue: key))
            }
        } else if let values = value.array {
            var box = encoder.unkeyedContainer()
            for value in values { try box.encode(Written(value)) }
        } else {
            var box = encoder.singleValueContainer()
            if value.isNull {
                try box.encodeNil()
            } else if let truth = value.bool {
                try box.encode(truth)
            } else if let number = value.integer {
                try box.encode(number)
            } else {
                try box.encode(value.string ?? "")
            }
        }
    }
}
