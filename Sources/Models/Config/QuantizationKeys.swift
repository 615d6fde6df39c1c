import Encoding

/// What becomes of each key that says how weights are quantised.
///
/// Taken is e4m3 with one scale per block of 128 by 128, in the words of DeepSeek (`fp8`) or of
/// compressed-tensors, and the latter's symmetric 4-bit numbers in groups of 32. Everything else is
/// refused by its name.
enum QuantizationKeys {
    private typealias Refusal = ModelConfiguration.Refusal

    /// What is taken, for messages.
    static let taken =
        "taken are quant_method fp8 with fmt e4m3 and weight_block_size [128, 128], "
        + "compressed-tensors float-quantized with block_structure [128, 128], pack-quantized and "
        + "mxfp4-pack-quantized with num_bits 4, group_size 32, symmetric and without actorder, "
        + "and weights that are not quantised"

    /// The keys that hold the description of a quantisation; MLX has the last.
    static let keys = ["quantization_config", "compression_config", "quantization"]

    /// Keys of the `fp8` method without effect: each tensor's type and scales are read from its
    /// file, and activations are not quantised.
    static let withoutEffect: Set<String> = [
        "activation_scheme", "dequantize", "ignored_layers", "kv_cache_scheme",
        "modules_to_not_convert",
    ]

    /// Keys of compressed-tensors without effect, for the same reasons.
    static let withoutEffectOfCompressedTensors: Set<String> = [
        "config_groups", "format", "global_compression_ratio", "ignore", "kv_cache_scheme",
        "quantization_status", "quant_method", "version",
    ]

    /// Values of the fixed keys of `fp8`, the form of scales among them: the stored ones count.
    static let fixed: [String: [JSONValue]] = [
        "fmt": ["e4m3", "float8_e4m3fn"], "scale_fmt": ["ue8m0", "float32"],
        "weight_block_size": [[128, 128]],
    ]

    /// Checks what an object of a `config.json` says of its weights.
    ///
    /// - Parameter isFused: Whether the network has tensors of all experts, which have a
    ///   description of their own and no other.
    static func check(besides root: JSONValue, prefix: String, isFused: Bool) throws {
        for key in keys {
            guard let value = root[key], !value.isNull else { continue }
            guard let members = value.object, key != "quantization" else {
                throw Refusal(
                    key: prefix + key,
                    fact: "\(value.encoded().printable(limit: 60)) is not taken; \(taken)")
            }
            guard let method = value["quant_method"]?.string else {
                throw Refusal(key: "\(prefix)\(key).quant_method", fact: "is missing; \(taken)")
            }
            guard (method == blockMethod) == isFused else {
                let other = "taken are \(blockMethod), and weights that are not quantised"
                throw Refusal(
                    key: "\(prefix)\(key).quant_method",
                    fact: "\(description(method, value)) is not taken; \(isFused ? other : taken)")
            }
            switch method {
            case blockMethod: try checkBlocks(members, at: prefix + key)
            case "fp8": try checkFloat8(members, at: prefix + key)
            case "compressed-tensors": try checkCompressed(value, at: prefix + key)
            default:
                throw Refusal(
                    key: "\(prefix)\(key).quant_method",
                    fact: "\(description(method, value)) is not taken; \(taken)")
            }
        }
    }

    /// What gpt-oss calls the form of its experts.
    static let blockMethod = "mxfp4"

    /// Keys beside it without effect: each tensor's type is read from its file.
    static let withoutEffectOfBlocks: Set<String> = [
        "dequantize", "modules_to_not_convert", "quant_method",
    ]

    private static func checkBlocks(
        _ members: [(key: String, value: JSONValue)], at path: String
    ) throws {
        for (name, value) in members
        where !value.isNull && !withoutEffectOfBlocks.contains(name) && !name.hasPrefix("_") {
            throw Refusal(
                key: "\(path).\(name)".printable(),
                fact: "\(value.encoded().printable(limit: 40)) is the value of an unknown key; "
                    + "\(blockMethod) has modules_to_not_convert alone")
        }
    }

    /// Checks NVIDIA's `hf_quant_config.json`, which stands beside a `config.json` that says
    /// nothing.
    static func checkModelOptimizer(_ root: JSONValue) throws {
        guard let value = root["quantization"]?["quant_algo"], !value.isNull else { return }
        throw Refusal(
            key: "quantization.quant_algo",
            fact: "\((value.string ?? value.encoded()).printable()) is not taken; \(taken)")
    }

    private static func checkFloat8(
        _ members: [(key: String, value: JSONValue)], at path: String
    ) throws {
        for (name, value) in members where !value.isNull && name != "quant_method" {
            if let values = fixed[name] {
                guard values.contains(value) else {
                    throw Refusal(
                        key: "\(path).\(name)",
                        fact: "\(value.encoded().printable(limit: 40)) is not taken; \(taken)")
                }
            } else if !withoutEffect.contains(name), !name.hasPrefix("_") {
                throw Refusal(
                    key: "\(path).\(name)".printable(),
                    fact: "\(value.encoded().printable(limit: 40)) is the value of an unknown key; "
                        + taken)
            }
        }
        guard members.contains(where: { $0.key == "weight_block_size" && !$0.value.isNull }) else {
            throw Refusal(
                key: "\(path).weight_block_size",
                fact: "is missing, which means one scale per tensor; \(taken)")
        }
    }

    private static func checkCompressed(_ value: JSONValue, at path: String) throws {
        for (name, member) in value.object ?? []
        where !member.isNull && !withoutEffectOfCompressedTensors.contains(name) {
            let isEmpty = member.object?.isEmpty == true || member["format"]?.string == "dense"
            guard ["sparsity_config", "transform_config"].contains(name), isEmpty else {
                throw Refusal(
                    key: "\(path).\(name)".printable(),
                    fact: "\(member.encoded().printable(limit: 40)) is not taken; \(taken)")
            }
        }
        let format = value["format"]?.string ?? ""
        if let fourBit = fourBitForms[format] {
            return try checkFourBits(value, format: format, wanted: fourBit.weights, at: path)
        }
        let groups = value["config_groups"]?.object ?? []
        guard value["format"]?.string == "float-quantized", !groups.isEmpty,
            groups.allSatisfy({ isBlockFloat8($0.value) })
        else {
            throw Refusal(
                key: path,
                fact: "\(description("compressed-tensors", value)) is not taken; \(taken)")
        }
    }

    /// Whether the weights of a group are e4m3 with a scale per block of 128 by 128.
    private static func isBlockFloat8(_ group: JSONValue) -> Bool {
        guard let weights = group["weights"] else { return false }
        let wanted: [(String, JSONValue)] = [
            ("num_bits", 8), ("type", "float"), ("strategy", "block"),
            ("block_structure", [128, 128]),
        ]
        return wanted.allSatisfy { weights[$0.0] == $0.1 }
            && weights["dynamic"]?.bool != true && weights["symmetric"]?.bool != false
    }

    /// A method with the numbers that tell it from others of its name.
    private static func description(_ method: String, _ value: JSONValue) -> String {
        let first = value["config_groups"]?.object?.first?.value["weights"]
        let inner = first ?? value["global_quant_config"]?["weight"] ?? value
        let words: [String?] = [
            method, value["format"]?.string, value["quant_algo"]?.string,
            (inner["num_bits"] ?? inner["bits"])?.integer.map { "\($0)-bit" },
            inner["type"]?.string ?? inner["dtype"]?.string, inner["strategy"]?.string,
            inner["group_size"]?.integer.map { "in groups of \($0)" },
            value["load_in_4bit"]?.bool == true ? "4-bit" : nil,
            inner["bnb_4bit_quant_type"]?.string,
        ]
        return words.compactMap { $0 }.joined(separator: " ").printable(limit: 120)
    }
}
