import Encoding

extension ModelConfiguration {
    /// Reads the keys of a network with grouped queries.
    ///
    /// Its heads have the widths that latent attention has: a rotated part, an unrotated part that
    /// may be empty, and a value. It has no latent.
    init(
        groupedFrom decoder: any Decoder, _ family: GroupedFamily, _ defaults: FamilyDefaults
    ) throws {
        let box = try decoder.container(keyedBy: CodingKeys.self)
        let own = try decoder.container(keyedBy: GroupedKey.self)
        func read<Value: Decodable>(_ key: CodingKeys, or value: Value) throws -> Value {
            try box.decodeIfPresent(Value.self, forKey: key) ?? value
        }
        hiddenSize = try box.decode(Int.self, forKey: .hiddenSize)
        layerCount = try box.decode(Int.self, forKey: .layerCount)
        headCount = try box.decode(Int.self, forKey: .headCount)
        keyValueHeadCount = try box.decode(Int.self, forKey: .keyValueHeadCount)
        vocabularySize = try box.decode(Int.self, forKey: .vocabularySize)
        intermediateSize = try box.decode(Int.self, forKey: .intermediateSize)
        expertIntermediateSize = try own.decode(Int.self, forKey: family.expertWidth)
        routedExpertCount = try Self.expertCount(own, family)
        activeExpertCount = try box.decode(Int.self, forKey: .activeExpertCount)
        let size =
            try own.decodeIfPresent(Int.self, forKey: .headSize)
            ?? defaults.headSize ?? hiddenSize / max(1, headCount)
        (valueHeadSize, latentSize) = (size, 0)
        ropeHeadSize = try Self.rotatedSize(own, family, of: size)
        nopeHeadSize = size &- ropeHeadSize
        architectures = try read(.architectures, or: architectures)
        modelType = try read(.modelType, or: modelType)
        sharedExpertCount = try read(
            .sharedExpertCount,
            or: box.contains(.sharedExpertCount) ? 0 : defaults.sharedExpertCount)
        groupCount = try read(.groupCount, or: groupCount)
        keptGroupCount = try read(.keptGroupCount, or: keptGroupCount)
        (scoring, topKMethod) = (defaults.scoring, defaults.topKMethod)
        normalizesWeights = try read(.normalizesWeights, or: defaults.normalizesWeights)
        routedScalingFactor = try read(.routedScalingFactor, or: defaults.routedScalingFactor)
        positionLimit = try box.decode(Int.self, forKey: .positionLimit)
        normEpsilon = try read(.normEpsilon, or: defaults.normEpsilon)
        rotatesNeighbours = false
        tiesEmbeddings = try read(.tiesEmbeddings, or: false)
        hasAttentionBias = try read(.attentionBias, or: defaults.attentionBias)
        switch family.norm {
        case .always(let norm): queryKeyNorm = norm
        case .said:
            let norms = try own.decodeIfPresent(Bool.self, forKey: .normsQueries) == true
            queryKeyNorm = norms ? .head : nil
        case .never: break
        }
        if family.keys.read.contains(CodingKeys.mtpLayerCount.rawValue) {
            mtpLayerCount = try Self.one(of: .mtpLayerCount, .newerMTPLayerCount, box, or: 0)
        }
        beginToken = try box.decodeIfPresent(Int.self, forKey: .beginToken)
        quantization = try box.decodeIfPresent(Quantization.self, forKey: .quantization)
        let newerType = try box.decodeIfPresent(String.self, forKey: .newerStoredType)
        storedType = try read(.storedType, or: newerType ?? storedType)
        endTokens = try Self.endTokens(in: box)
        denseLayerCount = try read(.denseLayerCount, or: defaults.denseLayerCount)
        if family.expertLayers == .steps { try readExpertSteps(own) }
        ropeTheta = defaults.ropeTheta
        try readRope(box)
        try readStretch(box)
    }

    /// Takes of YaRN's stretch what Transformers and vLLM take of it for these families.
    ///
    /// The two scales count together alone, and for the rotation alone (`attentionScale`). A text
    /// is as long as the stretch makes it where that is longer: Qwen's recipe for long texts leaves
    /// `max_position_embeddings` as it is.
    ///
    /// Source: Transformers' `_compute_yarn_parameters`; vLLM's `_get_and_verify_max_len`.
    private mutating func readStretch(_ box: KeyedDecodingContainer<CodingKeys>) throws {
        guard var stretch = yarn else { return }
        var hasScales = false
        for key in [CodingKeys.ropeScaling, .ropeParameters] where box.contains(key) {
            guard try !box.decodeNil(forKey: key) else { continue }
            let inner = try box.nestedContainer(keyedBy: YaRN.CodingKeys.self, forKey: key)
            let scales = try [YaRN.CodingKeys.mscale, .mscaleAllDimensions].map {
                try inner.decodeIfPresent(Double.self, forKey: $0) ?? 0
            }
            hasScales = hasScales || !scales.contains(0)
        }
        if !hasScales { (stretch.mscale, stretch.mscaleAllDimensions) = (1, 0) }
        yarn = stretch
        let positions = stretch.factor * Double(stretch.originalPositionLimit)
        // Values outside their limits are refused by their own names.
        guard 1 ... Limit.positions ~= positionLimit, positions > Double(positionLimit)
        else { return }
        positionLimit = Int(min(positions, Double(Limit.positions)))
    }

    /// The count of routed experts, which Transformers 5 calls otherwise than the release.
    private static func expertCount(
        _ own: KeyedDecodingContainer<GroupedKey>, _ family: GroupedFamily
    ) throws -> Int {
        let newer = try own.decodeIfPresent(Int.self, forKey: .localExpertCount)
        guard let count = try own.decodeIfPresent(Int.self, forKey: family.expertCount) ?? newer
        else { return try own.decode(Int.self, forKey: family.expertCount) }
        guard newer == nil || newer == count else {
            throw Refusal(
                key: GroupedKey.localExpertCount.rawValue,
                fact: "\(newer ?? 0); \(family.expertCount.rawValue) is \(count)")
        }
        return count
    }

    /// How many values of a head turn.
    private static func rotatedSize(
        _ own: KeyedDecodingContainer<GroupedKey>, _ family: GroupedFamily, of size: Int
    ) throws -> Int {
        var shares = try rotatedShares(own)
        var count: Int?
        switch family.rotation {
        case .whole: return size
        case .share(let share): if shares.isEmpty { shares = [share] }
        case .count: count = try own.decodeIfPresent(Int.self, forKey: .rotatedCount)
        }
        guard let share = shares.first else { return count ?? size }
        guard shares.allSatisfy({ $0 == share }), 0 ... 1 ~= share else {
            throw Refusal(
                key: GroupedKey.rotatedShare.rawValue,
                fact: "\(shares.map { "\($0)" }.joined(separator: " and ")); taken is one share "
                    + "of a head, from 0 to 1")
        }
        let turned = Int(Double(min(max(size, 0), Limit.headWidth)) * share)
        // A quotient may be cut to a whole number below the one that it was made of.
        if let count, count != turned, Double(count) / Double(size) != share {
            throw Refusal(
                key: GroupedKey.rotatedCount.rawValue,
                fact: "\(count); \(GroupedKey.rotatedShare.rawValue) \(share) of "
                    + "\(GroupedKey.headSize.rawValue) \(size) is \(turned)")
        }
        return count ?? turned
    }

    /// Every value of `partial_rotary_factor`, in the rope keys too.
    private static func rotatedShares(
        _ own: KeyedDecodingContainer<GroupedKey>
    ) throws -> [Double] {
        var shares: [Double] = []
        func add(_ share: Double?) { if let share { shares.append(share) } }
        add(try own.decodeIfPresent(Double.self, forKey: .rotatedShare))
        for key in [GroupedKey.ropeParameters, .ropeScaling] where own.contains(key) {
            guard try !own.decodeNil(forKey: key) else { continue }
            let inner = try own.nestedContainer(keyedBy: GroupedKey.self, forKey: key)
            add(try inner.decodeIfPresent(Double.self, forKey: .rotatedShare))
        }
        return shares
    }

    /// Reads which blocks have experts: every n-th, except those that are listed.
    private mutating func readExpertSteps(_ own: KeyedDecodingContainer<GroupedKey>) throws {
        let step = try own.decodeIfPresent(Int.self, forKey: .expertStep) ?? 1
        let dense = try own.decodeIfPresent([Int].self, forKey: .denseLayers) ?? []
        guard 1 ... Limit.layers ~= step else {
            throw Refusal(
                key: GroupedKey.expertStep.rawValue,
                fact: "\(step) is outside 1...\(Limit.layers)")
        }
        guard 0 ... Limit.layers ~= layerCount else { return }
        if let wrong = dense.first(where: { !(0 ..< layerCount ~= $0) }) {
            throw Refusal(
                key: GroupedKey.denseLayers.rawValue,
                fact: "block \(wrong) is outside 0...\(layerCount - 1) (num_hidden_layers)")
        }
        let without = Set(dense)
        expertLayers = (0 ..< layerCount).map {
            !without.contains($0) && ($0 + 1).isMultiple(of: step)
        }
        countExpertLayers()
    }
}
