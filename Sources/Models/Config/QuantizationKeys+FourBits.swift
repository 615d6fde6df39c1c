import Encoding

extension QuantizationKeys {
    /// The formats of compressed-tensors that hold numbers of 4 bits, and what each says of a group
    /// of weights.
    static let fourBitForms:
        [String: (form: Quantization.Form, weights: [(key: String, value: JSONValue)])] = [
            "pack-quantized": (.int4, common + [("type", "int")]),
            "mxfp4-pack-quantized": (.mxfp4, common + [("type", "float")]),
        ]

    private static let common: [(key: String, value: JSONValue)] = [
        ("group_size", 32), ("num_bits", 4), ("strategy", "group"), ("symmetric", true),
    ]

    /// Checks what compressed-tensors says of weights in 4 bits.
    static func checkFourBits(
        _ value: JSONValue, format: String,
        wanted: [(key: String, value: JSONValue)], at path: String
    ) throws {
        let groups = value["config_groups"]?.object ?? []
        guard !groups.isEmpty else {
            throw refusal("\(path).config_groups", "is missing")
        }
        for (name, group) in groups {
            let place = "\(path).config_groups.\(name)"
            if let own = group["format"], !own.isNull, own.string != format {
                throw refusal("\(place).format", "\(text(own)) in a checkpoint of \(format)")
            }
            guard let weights = group["weights"], weights.object != nil else {
                throw refusal("\(place).weights", "is missing")
            }
            for (key, value) in wanted where weights[key] != value {
                throw refusal("\(place).weights.\(key)", text(weights[key] ?? .null))
            }
            for key in ["actorder", "dynamic"] {
                guard let found = weights[key], !found.isNull, found.bool != false else { continue }
                throw refusal("\(place).weights.\(key)", text(found))
            }
            try checkNames(group["targets"], at: "\(place).targets")
        }
        // All groups together are one list.
        let targets = groups.flatMap { $0.value["targets"]?.array ?? [] }
        try checkNames(.array(targets), at: "\(path).config_groups.*.targets")
        try checkNames(value["ignore"], at: "\(path).ignore")
    }

    private static func checkNames(_ value: JSONValue?, at path: String) throws {
        guard let value, !value.isNull else { return }
        guard let names = value.array, names.allSatisfy({ $0.string != nil }) else {
            throw refusal(path, "\(text(value)) is no list of names")
        }
        do { _ = try NamePatterns(names.compactMap(\.string)) } catch let error
            as ModelConfiguration.Refusal
        {
            throw ModelConfiguration.Refusal(key: path.printable(), fact: error.fact)
        }
    }

    private static func text(_ value: JSONValue) -> String {
        value.encoded().printable(limit: 60)
    }

    private static func refusal(_ key: String, _ fact: String) -> ModelConfiguration.Refusal {
        ModelConfiguration.Refusal(key: key.printable(), fact: "\(fact) is not taken; \(taken)")
    }
}
