extension ModelConfiguration {
    /// Writes the published keys of a network with grouped queries.
    func encodeGrouped(_ family: GroupedFamily, to encoder: any Encoder) throws {
        var box = encoder.container(keyedBy: CodingKeys.self)
        var own = encoder.container(keyedBy: GroupedKey.self)
        try box.encode(architectures, forKey: .architectures)
        try box.encode(modelType, forKey: .modelType)
        try box.encode(hiddenSize, forKey: .hiddenSize)
        try box.encode(intermediateSize, forKey: .intermediateSize)
        try own.encode(expertIntermediateSize, forKey: family.expertWidth)
        try box.encode(layerCount, forKey: .layerCount)
        try box.encode(headCount, forKey: .headCount)
        try box.encode(keyValueHeadCount, forKey: .keyValueHeadCount)
        try own.encode(valueHeadSize, forKey: .headSize)
        try own.encode(routedExpertCount, forKey: family.expertCount)
        try box.encode(activeExpertCount, forKey: .activeExpertCount)
        try box.encode(vocabularySize, forKey: .vocabularySize)
        try box.encode(positionLimit, forKey: .positionLimit)
        try box.encode(normEpsilon, forKey: .normEpsilon)
        try box.encode(ropeTheta, forKey: .ropeTheta)
        try box.encode(yarn, forKey: .ropeScaling)
        try box.encodeIfPresent(quantization, forKey: .quantization)
        try box.encodeIfPresent(beginToken, forKey: .beginToken)
        try box.encode(storedType, forKey: .storedType)
        try box.encode("silu", forKey: .activation)
        try box.encode(tiesEmbeddings, forKey: .tiesEmbeddings)
        try box.encode(hasAttentionBias, forKey: .attentionBias)
        if endTokens.count == 1 {
            try box.encode(endTokens[0], forKey: .endTokens)
        } else {
            try box.encode(endTokens, forKey: .endTokens)
        }
        switch family.rotation {
        case .whole: break
        case .share:
            // What is read is cut to a whole number, so the quotient must not lie below it.
            var share = Double(ropeHeadSize) / Double(valueHeadSize)
            if Int(Double(valueHeadSize) * share) < ropeHeadSize { share = share.nextUp }
            try own.encode(share, forKey: .rotatedShare)
        case .count: try own.encode(ropeHeadSize, forKey: .rotatedCount)
        }
        if case .said = family.norm { try own.encode(queryKeyNorm != nil, forKey: .normsQueries) }
        try encodeWindow(into: &own)
        try encodeExperts(family, &box, &own)
    }

    /// Writes which blocks have experts, and how a token chooses them.
    private func encodeExperts(
        _ family: GroupedFamily, _ box: inout KeyedEncodingContainer<CodingKeys>,
        _ own: inout KeyedEncodingContainer<GroupedKey>
    ) throws {
        func isRead(_ key: CodingKeys) -> Bool { family.keys.read.contains(key.rawValue) }
        switch family.expertLayers {
        case .all: break
        case .first: try box.encode(denseLayerCount, forKey: .denseLayerCount)
        case .steps:
            let dense = (0 ..< layerCount).filter { !hasExperts(layer: $0) }
            try own.encode(dense, forKey: .denseLayers)
        }
        if isRead(.sharedExpertCount) {
            try box.encode(sharedExpertCount, forKey: .sharedExpertCount)
        }
        if isRead(.groupCount) { try box.encode(groupCount, forKey: .groupCount) }
        if isRead(.keptGroupCount) { try box.encode(keptGroupCount, forKey: .keptGroupCount) }
        if isRead(.normalizesWeights) {
            try box.encode(normalizesWeights, forKey: .normalizesWeights)
        }
        if isRead(.routedScalingFactor) {
            try box.encode(routedScalingFactor, forKey: .routedScalingFactor)
        }
        if isRead(.mtpLayerCount) { try box.encode(mtpLayerCount, forKey: .mtpLayerCount) }
    }
}
