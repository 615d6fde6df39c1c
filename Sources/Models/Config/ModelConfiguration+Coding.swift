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

    /// Reads the published keys; those with a default may be absent or null.
    public init(from decoder: any Decoder) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        func read<Value: Decodable>(_ key: CodingKeys, or value: Value) throws -> Value {
            try box.decodeIfPresent(Value.self, forKey: key) ?? value
        }
        hiddenSize = try box.decode(Int.self, forKey: .hiddenSize)
        layerCount = try box.decode(Int.self, forKey: .layerCount)
        headCount = try box.decode(Int.self, forKey: .headCount)
        latentSize = try box.decode(Int.self, forKey: .latentSize)
        ropeHeadSize = try box.decode(Int.self, forKey: .ropeHeadSize)
        nopeHeadSize = try box.decode(Int.self, forKey: .nopeHeadSize)
        valueHeadSize = try box.decode(Int.self, forKey: .valueHeadSize)
        vocabularySize = try box.decode(Int.self, forKey: .vocabularySize)
        intermediateSize = try box.decode(Int.self, forKey: .intermediateSize)
        expertIntermediateSize = try box.decode(Int.self, forKey: .expertIntermediateSize)
        routedExpertCount = try box.decode(Int.self, forKey: .routedExpertCount)
        activeExpertCount = try box.decode(Int.self, forKey: .activeExpertCount)
        architectures = try read(.architectures, or: architectures)
        modelType = try read(.modelType, or: modelType)
        denseLayerCount = try read(.denseLayerCount, or: denseLayerCount)
        expertLayerStride = try read(.expertLayerStride, or: expertLayerStride)
        queryLatentSize = try box.decodeIfPresent(Int.self, forKey: .queryLatentSize)
        sharedExpertCount = try read(.sharedExpertCount, or: sharedExpertCount)
        groupCount = try read(.groupCount, or: groupCount)
        keptGroupCount = try read(.keptGroupCount, or: keptGroupCount)
        normalizesWeights = try read(.normalizesWeights, or: normalizesWeights)
        routedScalingFactor = try read(.routedScalingFactor, or: routedScalingFactor)
        positionLimit = try read(.positionLimit, or: positionLimit)
        normEpsilon = try read(.normEpsilon, or: normEpsilon)
        mtpLayerCount = try read(.mtpLayerCount, or: mtpLayerCount)
        beginToken = try box.decodeIfPresent(Int.self, forKey: .beginToken)
        quantization = try box.decodeIfPresent(Quantization.self, forKey: .quantization)
        let newerType = try box.decodeIfPresent(String.self, forKey: .newerStoredType)
        storedType = try read(.storedType, or: newerType ?? storedType)
        if let one = try? box.decode(Int.self, forKey: .endTokens) {
            endTokens = [one]
        } else {
            endTokens = try read(.endTokens, or: [])
        }
        try readChoices(box)
        try readRope(box)
    }

    /// Reads the keys whose values are names, and refuses those this program does not run.
    private mutating func readChoices(_ box: KeyedDecodingContainer<CodingKeys>) throws {
        func name(_ key: CodingKeys, or value: String) throws -> String {
            try box.decodeIfPresent(String.self, forKey: key) ?? value
        }
        let isSecond = modelType == "deepseek_v2"
        let score = try name(.scoring, or: isSecond ? "softmax" : "sigmoid")
        guard let scoring = Scoring(rawValue: score) else {
            throw Refusal(
                key: "scoring_func", fact: "\(score.printable()) is neither sigmoid nor softmax")
        }
        self.scoring = scoring
        let method = try name(.topKMethod, or: isSecond ? "greedy" : "noaux_tc")
        guard let topKMethod = TopKMethod(rawValue: method) else {
            throw Refusal(
                key: "topk_method",
                fact: "\(method.printable()) is none of noaux_tc, group_limited_greedy, greedy")
        }
        self.topKMethod = topKMethod
        if topKMethod == .greedy { (groupCount, keptGroupCount) = (1, 1) }
        let activation = try name(.activation, or: "silu")
        guard activation == "silu" else {
            throw Refusal(key: "hidden_act", fact: "\(activation.printable()) is not silu")
        }
        for key in [CodingKeys.tiesEmbeddings, .attentionBias]
        where try box.decodeIfPresent(Bool.self, forKey: key) ?? false {
            throw Refusal(
                key: key.rawValue, fact: "true; no released DeepSeek-V3 model has it")
        }
        guard !box.contains(.sparseIndexSize) else {
            throw Refusal(
                key: "index_topk", fact: "sparse attention (DeepSeek-V3.2) is not dense MLA")
        }
        let keyValueHeads = try box.decodeIfPresent(Int.self, forKey: .keyValueHeadCount)
        guard keyValueHeads == nil || keyValueHeads == headCount else {
            throw Refusal(
                key: "num_key_value_heads",
                fact: "\(keyValueHeads ?? 0); MLA has one per head (num_attention_heads "
                    + "\(headCount))")
        }
    }

    /// Reads the rotary base and its stretch, in the classic form and in Transformers 5's.
    private mutating func readRope(_ box: KeyedDecodingContainer<CodingKeys>) throws {
        ropeTheta = try box.decodeIfPresent(Double.self, forKey: .ropeTheta) ?? ropeTheta
        for key in [CodingKeys.ropeScaling, .ropeParameters] where box.contains(key) {
            guard try !box.decodeNil(forKey: key) else { continue }
            let inner = try box.nestedContainer(keyedBy: YaRN.CodingKeys.self, forKey: key)
            if let theta = try inner.decodeIfPresent(Double.self, forKey: .ropeTheta) {
                ropeTheta = theta
            }
            let kind =
                try inner.decodeIfPresent(String.self, forKey: .kind)
                ?? inner.decodeIfPresent(String.self, forKey: .newerKind) ?? "default"
            switch kind {
            case "default": continue
            case "yarn": yarn = try box.decode(YaRN.self, forKey: key)
            default:
                throw Refusal(
                    key: key.rawValue + ".type",
                    fact: "\(kind.printable()) is neither yarn nor default")
            }
        }
    }

    /// Writes the published keys, in the classic form that every reader knows.
    public func encode(to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: CodingKeys.self)
        try box.encode(architectures, forKey: .architectures)
        try box.encode(modelType, forKey: .modelType)
        try box.encode(hiddenSize, forKey: .hiddenSize)
        try box.encode(intermediateSize, forKey: .intermediateSize)
        try box.encode(expertIntermediateSize, forKey: .expertIntermediateSize)
        try box.encode(layerCount, forKey: .layerCount)
        try box.encode(denseLayerCount, forKey: .denseLayerCount)
        try box.encode(expertLayerStride, forKey: .expertLayerStride)
        try box.encode(headCount, forKey: .headCount)
        try box.encode(headCount, forKey: .keyValueHeadCount)
        try box.encode(queryLatentSize, forKey: .queryLatentSize)
        try box.encode(latentSize, forKey: .latentSize)
        try box.encode(ropeHeadSize, forKey: .ropeHeadSize)
        try box.encode(nopeHeadSize, forKey: .nopeHeadSize)
        try box.encode(valueHeadSize, forKey: .valueHeadSize)
        try box.encode(routedExpertCount, forKey: .routedExpertCount)
        try box.encode(sharedExpertCount, forKey: .sharedExpertCount)
        try box.encode(activeExpertCount, forKey: .activeExpertCount)
        try box.encode(groupCount, forKey: .groupCount)
        try box.encode(keptGroupCount, forKey: .keptGroupCount)
        try box.encode(scoring, forKey: .scoring)
        try box.encode(topKMethod, forKey: .topKMethod)
        try box.encode(normalizesWeights, forKey: .normalizesWeights)
        try box.encode(routedScalingFactor, forKey: .routedScalingFactor)
        try box.encode(vocabularySize, forKey: .vocabularySize)
        try box.encode(positionLimit, forKey: .positionLimit)
        try box.encode(normEpsilon, forKey: .normEpsilon)
        try box.encode(ropeTheta, forKey: .ropeTheta)
        try box.encode(yarn, forKey: .ropeScaling)
        try box.encode(mtpLayerCount, forKey: .mtpLayerCount)
        try box.encodeIfPresent(quantization, forKey: .quantization)
        try box.encodeIfPresent(beginToken, forKey: .beginToken)
        try box.encode(storedType, forKey: .storedType)
        try box.encode("silu", forKey: .activation)
        try box.encode(false, forKey: .tiesEmbeddings)
        try box.encode(false, forKey: .attentionBias)
        if endTokens.count == 1 {
            try box.encode(endTokens[0], forKey: .endTokens)
        } else {
            try box.encode(endTokens, forKey: .endTokens)
        }
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
    }
}

extension Quantization {
    /// Reads the published keys; what is absent is as DeepSeek-V3 is released.
    public init(from decoder: any Decoder) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        method = try box.decode(String.self, forKey: .method)
        format = try box.decodeIfPresent(String.self, forKey: .format) ?? format
        blockSize = try box.decodeIfPresent([Int].self, forKey: .blockSize) ?? blockSize
        activationScheme =
            try box.decodeIfPresent(String.self, forKey: .activationScheme) ?? activationScheme
    }
}
