import Encoding
public import Foundation

extension ModelConfiguration {
    /// Parses and checks a configuration.
    ///
    /// - Parameters:
    ///   - json: The text of a `config.json`.
    ///   - file: Its name, for messages.
    public static func parse(_ json: Data, file: String) throws -> ModelConfiguration {
        let text = try ConfigurationText(json, file: file)
        try text.checkNumbers(file: file)
        let configuration: ModelConfiguration
        do {
            try ConfigurationKeys.check(text.root)
            configuration = try JSONDecoder().decode(ModelConfiguration.self, from: json)
        } catch let error as DecodingError {
            throw fault(error, in: text, file: file)
        } catch let error as Refusal {
            throw ModelError.configuration(file: file, key: error.key, fact: error.fact)
        }
        try configuration.validate(file: file)
        return configuration
    }

    /// The text of a `config.json`, keys sorted.
    public func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    /// A value that decodes but that this program does not run.
    struct Refusal: Error {
        let key: String
        let fact: String
    }

    /// Puts Foundation's account of a wrong type or a missing key into one line.
    private static func fault(
        _ error: DecodingError, in text: ConfigurationText, file: String
    ) -> ModelError {
        func path(_ context: DecodingError.Context, _ key: (any CodingKey)? = nil) -> String {
            let keys = context.codingPath + (key.map { [$0] } ?? [])
            return keys.isEmpty
                ? "the text" : keys.map(\.stringValue).joined(separator: ".").printable()
        }
        switch error {
        case .keyNotFound(let key, let context):
            return .configuration(file: file, key: path(context, key), fact: "is missing")
        case .valueNotFound(_, let context):
            return .configuration(file: file, key: path(context), fact: "is null")
        case .typeMismatch(let type, let context):
            let value = text.value(at: context.codingPath) ?? "the value"
            return .configuration(
                file: file, key: path(context),
                fact: "\(value) is not of the expected type \(type)")
        case .dataCorrupted(let context):
            return .configuration(
                file: file, key: path(context), fact: context.debugDescription.printable())
        @unknown default:
            return .configuration(file: file, key: "the text", fact: "cannot be decoded")
        }
    }

    /// Reads the keys of the family that `architectures` names.
    public init(from decoder: any Decoder) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        let names = try box.decodeIfPresent([String].self, forKey: .architectures)
        guard let family = Architectures.named(names ?? DeepSeekV3.classNames) else {
            throw Refusal(
                key: CodingKeys.architectures.rawValue, fact: Architectures.refusal(names ?? []))
        }
        self = try family.configuration(from: decoder)
    }

    /// Reads the keys of a network that stand in `text_config`, beside those of a vision tower.
    init(textIn decoder: any Decoder, _ defaults: FamilyDefaults) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(from: box.superDecoder(forKey: .text), defaults)
        architectures = try box.decode([String].self, forKey: .architectures)
        if let outer = try box.decodeIfPresent(Quantization.self, forKey: .quantization) {
            quantization = outer
        }
        for token in try Self.endTokens(in: box) where !endTokens.contains(token) {
            endTokens.append(token)
        }
    }

    /// What `eos_token_id` says: none, one or several.
    static func endTokens(in box: KeyedDecodingContainer<CodingKeys>) throws -> [Int] {
        if let one = try? box.decode(Int.self, forKey: .endTokens) { return [one] }
        return try box.decodeIfPresent([Int].self, forKey: .endTokens) ?? []
    }
}

extension YaRN {
    /// Reads the classic keys; only the factor and the original length are required.
    public init(from decoder: any Decoder) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        factor = try box.decode(Double.self, forKey: .factor)
        originalPositionLimit = try box.decode(Int.self, forKey: .originalPositionLimit)
        betaFast = try box.decodeIfPresent(Double.self, forKey: .betaFast) ?? betaFast
        betaSlow = try box.decodeIfPresent(Double.self, forKey: .betaSlow) ?? betaSlow
        mscale = try box.decodeIfPresent(Double.self, forKey: .mscale) ?? mscale
        mscaleAllDimensions =
            try box.decodeIfPresent(Double.self, forKey: .mscaleAllDimensions)
            ?? mscaleAllDimensions
        attentionFactor = try box.decodeIfPresent(Double.self, forKey: .attentionFactor)
        truncates = try box.decodeIfPresent(Bool.self, forKey: .truncates) ?? truncates
    }

    /// Writes the classic keys.
    public func encode(to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: CodingKeys.self)
        try box.encode("yarn", forKey: .kind)
        try box.encode(factor, forKey: .factor)
        try box.encode(originalPositionLimit, forKey: .originalPositionLimit)
        try box.encode(betaFast, forKey: .betaFast)
        try box.encode(betaSlow, forKey: .betaSlow)
        try box.encode(mscale, forKey: .mscale)
        try box.encode(mscaleAllDimensions, forKey: .mscaleAllDimensions)
        try box.encodeIfPresent(attentionFactor, forKey: .attentionFactor)
        if !truncates { try box.encode(false, forKey: .truncates) }
    }
}
