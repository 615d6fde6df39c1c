import Encoding

extension ModelConfiguration {
    /// Reads the published keys; those with a default may be absent or null.
    ///
    /// - Parameter defaults: What the family takes where a key is absent.
    init(from decoder: any Decoder, _ defaults: FamilyDefaults) throws {
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
        routedExpertCount = try Self.one(of: .routedExpertCount, .newerRoutedExpertCount, box)
        activeExpertCount = try box.decode(Int.self, forKey: .activeExpertCount)
        architectures = try read(.architectures, or: architectures)
        modelType = try read(.modelType, or: modelType)
        denseLayerCount = try read(.denseLayerCount, or: defaults.denseLayerCount)
        queryLatentSize = try box.decodeIfPresent(Int.self, forKey: .queryLatentSize)
        sharedExpertCount = try read(
            .sharedExpertCount,
            or: box.contains(.sharedExpertCount) ? 0 : defaults.sharedExpertCount)
        groupCount = try read(.groupCount, or: groupCount)
        keptGroupCount = try read(.keptGroupCount, or: keptGroupCount)
        normalizesWeights = try read(.normalizesWeights, or: normalizesWeights)
        routedScalingFactor = try read(.routedScalingFactor, or: defaults.routedScalingFactor)
        positionLimit = try read(.positionLimit, or: positionLimit)
        normEpsilon = try read(.normEpsilon, or: defaults.normEpsilon)
        if box.contains(.mtpLayerCount) || box.contains(.newerMTPLayerCount) {
            mtpLayerCount = try Self.one(of: .mtpLayerCount, .newerMTPLayerCount, box, or: 0)
        }
        rotatesNeighbours = try read(.rotatesNeighbours, or: rotatesNeighbours)
        sparseIndexCount =
            try box.decodeIfPresent(Int.self, forKey: .sparseIndexCount)
            ?? defaults.sparseIndexCount
        beginToken = try box.decodeIfPresent(Int.self, forKey: .beginToken)
        quantization = try box.decodeIfPresent(Quantization.self, forKey: .quantization)
        let newerType = try box.decodeIfPresent(String.self, forKey: .newerStoredType)
        storedType = try read(.storedType, or: newerType ?? storedType)
        endTokens = try Self.endTokens(in: box)
        try readChoices(box, defaults)
        try readExpertLayers(box)
        try readIndexer(box, defaults)
        try readRope(box)
    }

    /// Reads the keys whose values are names, and refuses those this program does not run.
    private mutating func readChoices(
        _ box: KeyedDecodingContainer<CodingKeys>, _ defaults: FamilyDefaults
    ) throws {
        func name(_ key: CodingKeys, or value: String) throws -> String {
            try box.decodeIfPresent(String.self, forKey: key) ?? value
        }
        let score = try name(.scoring, or: defaults.scoring.rawValue)
        guard let scoring = Scoring(rawValue: score) else {
            throw Refusal(
                key: "scoring_func", fact: "\(score.printable()) is neither sigmoid nor softmax")
        }
        self.scoring = scoring
        let method = try name(.topKMethod, or: defaults.topKMethod.rawValue)
        guard let topKMethod = TopKMethod(rawValue: method) else {
            throw Refusal(
                key: "topk_method",
                fact: "\(method.printable()) is none of noaux_tc, group_limited_greedy, greedy")
        }
        self.topKMethod = topKMethod
        if topKMethod == .greedy { (groupCount, keptGroupCount) = (1, 1) }
        let keyValueHeads = try box.decodeIfPresent(Int.self, forKey: .keyValueHeadCount)
        guard keyValueHeads == nil || keyValueHeads == headCount else {
            throw Refusal(
                key: "num_key_value_heads",
                fact: "\(keyValueHeads ?? 0); MLA has one per head (num_attention_heads "
                    + "\(headCount))")
        }
        let queryHead = try box.decodeIfPresent(Int.self, forKey: .queryHeadSize)
        guard queryHead == nil || queryHead == queryHeadSize else {
            throw Refusal(
                key: "qk_head_dim",
                fact: "\(queryHead ?? 0); qk_nope_head_dim \(nopeHeadSize) and qk_rope_head_dim "
                    + "\(ropeHeadSize) are \(queryHeadSize)")
        }
    }
}
