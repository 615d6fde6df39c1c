import Encoding

extension ModelConfiguration {
    /// Reads the published keys; those with a default may be absent or null.
    ///
    /// - Parameters:
    ///   - scoring: Where `scoring_func` is absent.
    ///   - topKMethod: Where `topk_method` is absent.
    init(from decoder: any Decoder, scoring: Scoring, topKMethod: TopKMethod) throws {
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
        try readChoices(box, scoring, topKMethod)
        try readRope(box)
    }

    /// Reads the keys whose values are names, and refuses those this program does not run.
    private mutating func readChoices(
        _ box: KeyedDecodingContainer<CodingKeys>, _ scoring: Scoring, _ topKMethod: TopKMethod
    ) throws {
        func name(_ key: CodingKeys, or value: String) throws -> String {
            try box.decodeIfPresent(String.self, forKey: key) ?? value
        }
        let score = try name(.scoring, or: scoring.rawValue)
        guard let scoring = Scoring(rawValue: score) else {
            throw Refusal(
                key: "scoring_func", fact: "\(score.printable()) is neither sigmoid nor softmax")
        }
        self.scoring = scoring
        let method = try name(.topKMethod, or: topKMethod.rawValue)
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
