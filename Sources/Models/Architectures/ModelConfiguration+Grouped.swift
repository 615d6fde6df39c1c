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
            ?? hiddenSize / max(1, headCount)
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
        hasAttentionBias = try read(.attentionBias, or: false)
        queryKeyNorm = family.norm
        if family.norm == nil, try own.decodeIfPresent(Bool.self, forKey: .normsQueries) == true {
            queryKeyNorm = .head
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
        var shares: [Double] = []
        func add(_ share: Double?) { if let share { shares.append(share) } }
        switch family.rotation {
        case .whole: return size
        case .count, .share:
            if case .count = family.rotation,
                let count = try own.decodeIfPresent(Int.self, forKey: .rotatedCount)
            {
                return count
            }
            add(try own.decodeIfPresent(Double.self, forKey: .rotatedShare))
            for key in [GroupedKey.ropeParameters, .ropeScaling] where own.contains(key) {
                guard try !own.decodeNil(forKey: key) else { continue }
                let inner = try own.nestedContainer(keyedBy: GroupedKey.self, forKey: key)
                add(try inner.decodeIfPresent(Double.self, forKey: .rotatedShare))
            }
        }
        if case .share(let share) = family.rotation, shares.isEmpty { shares = [share] }
        guard let share = shares.first else { return size }
        guard shares.allSatisfy({ $0 == share }), 0 ... 1 ~= share else {
            throw Refusal(
                key: GroupedKey.rotatedShare.rawValue,
                fact: "\(shares.map { "\($0)" }.joined(separator: " and ")); taken is one share "
                    + "of a head, from 0 to 1")
        }
        return Int(Double(min(max(size, 0), Limit.headWidth)) * share)
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
