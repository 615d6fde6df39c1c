extension ModelConfiguration {
    /// Writes the published keys, in the classic form that every reader knows.
    public func encode(to encoder: any Encoder) throws {
        if let family = architecture as? any GroupedArchitecture.Type {
            return try encodeGrouped(family.grouped, to: encoder)
        }
        var box = encoder.container(keyedBy: CodingKeys.self)
        try box.encode(architectures, forKey: .architectures)
        guard let key = architecture.textKey else { return try encodeNetwork(into: &box) }
        var inner = box.nestedContainer(keyedBy: CodingKeys.self, forKey: key)
        try encodeNetwork(into: &inner)
    }

    /// Writes the keys of the network itself.
    private func encodeNetwork(into box: inout KeyedEncodingContainer<CodingKeys>) throws {
        try box.encode(modelType, forKey: .modelType)
        try box.encode(hiddenSize, forKey: .hiddenSize)
        try box.encode(intermediateSize, forKey: .intermediateSize)
        try box.encode(expertIntermediateSize, forKey: .expertIntermediateSize)
        try box.encode(layerCount, forKey: .layerCount)
        if let expertLayers {
            try box.encode(expertLayers.map { $0 ? "sparse" : "dense" }, forKey: .expertLayers)
        } else {
            try box.encode(denseLayerCount, forKey: .denseLayerCount)
            try box.encode(expertLayerStride, forKey: .expertLayerStride)
        }
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
        if !rotatesNeighbours { try box.encode(false, forKey: .rotatesNeighbours) }
        try box.encodeIfPresent(sparseIndexCount, forKey: .sparseIndexCount)
        try encodeIndexer(into: &box)
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
