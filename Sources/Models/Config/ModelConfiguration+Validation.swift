import Encoding

extension ModelConfiguration {
    /// Limits that no released model comes near, and below which no product of sizes overflows.
    enum Limit {
        /// Blocks; DeepSeek-V3 has 61.
        static let layers = 1024
        /// A width of the residual stream or of a feed-forward network; V3 has 7168 and 18432.
        static let width = 1 << 20
        /// A width of an attention head's part; V3 has 128.
        static let headWidth = 4096
        /// Attention heads; V3 has 128.
        static let heads = 4096
        /// Routed experts per layer; Kimi K2 has 384.
        static let experts = 1 << 16
        /// Rows of the embedding; V3 has 129,280.
        static let vocabulary = 1 << 24
        /// Positions; V3 has 163,840.
        static let positions = 1 << 24
        /// Routed experts of all layers together; Kimi K2 has 23,040.
        static let expertsInAll = 1 << 20
        /// Parameters in all; Kimi K2 has 1e12.
        static let parameters = 1e15
        /// Multi-token-prediction blocks; V3 has 1.
        static let mtpLayers = 16
    }

    /// Checks every value, so that the rest of the room may rely on them.
    ///
    /// - Parameter file: The name of the file the values came from, for messages.
    public func validate(file: String = "config.json") throws {
        guard Architectures.named(architectures) != nil else {
            throw ModelError.configuration(
                file: file, key: CodingKeys.architectures.rawValue,
                fact: Architectures.refusal(architectures))
        }
        try validateSizes(file)
        try validateGate(file)
        try validateNumbers(file)
        try validateSum(file)
    }

    /// Values that are each within their limits may still describe more than can be counted.
    private func validateSum(_ file: String) throws {
        let layers = layerCount + mtpLayerCount
        let experts = layers * routedExpertCount
        guard experts <= Limit.expertsInAll else {
            throw ModelError.configuration(
                file: file, key: keyName(.routedExpertCount),
                fact: "\(routedExpertCount) in \(layers) layers are \(experts) experts; the limit "
                    + "is \(Limit.expertsInAll)")
        }
        // In Double, which does not overflow: each term is below 1e19.
        let perLayer =
            Double(attentionParameterCount + indexerParameterCount)
            + 3 * Double(hiddenSize) * Double(intermediateSize + sharedIntermediateSize)
            + Double(routedExpertCount) * Double(expertParameterCount)
        let count = Double(layers) * perLayer + 2 * Double(vocabularySize) * Double(hiddenSize)
        guard count <= Limit.parameters else {
            throw ModelError.configuration(
                file: file, key: "hidden_size",
                fact: "\(hiddenSize) and the other sizes make more than \(Limit.parameters) "
                    + "parameters")
        }
    }

    /// Throws unless a value lies in its range.
    private func check(
        _ value: Int, _ range: ClosedRange<Int>, _ key: CodingKeys, _ file: String,
        because reason: String = ""
    ) throws {
        guard range.contains(value) else {
            let origin = reason.isEmpty ? "" : " (\(reason))"
            throw ModelError.configuration(
                file: file, key: keyName(key),
                fact: "\(value) is outside \(range.lowerBound)...\(range.upperBound)\(origin)")
        }
    }

    private func validateSizes(_ file: String) throws {
        try check(hiddenSize, 1 ... Limit.width, .hiddenSize, file)
        try check(intermediateSize, 1 ... Limit.width, .intermediateSize, file)
        try check(layerCount, 1 ... Limit.layers, .layerCount, file)
        try check(denseLayerCount, 0 ... Limit.layers, .denseLayerCount, file)
        try check(expertLayerStride, 1 ... Limit.layers, .expertLayerStride, file)
        try check(headCount, 1 ... Limit.heads, .headCount, file)
        try check(queryLatentSize ?? 1, 1 ... Limit.width, .queryLatentSize, file)
        try validateHeads(file)
        try check(vocabularySize, 1 ... Limit.vocabulary, .vocabularySize, file)
        try check(positionLimit, 1 ... Limit.positions, .positionLimit, file)
        try check(mtpLayerCount, 0 ... Limit.mtpLayers, .mtpLayerCount, file)
        try check(sparseIndexCount ?? 1, 1 ... Limit.positions, .sparseIndexCount, file)
        try validateIndexer(file)
        for token in endTokens + (beginToken.map { [$0] } ?? []) {
            try check(
                token, 0 ... vocabularySize - 1,
                token == beginToken ? .beginToken : .endTokens, file, because: "vocab_size")
        }
    }

    /// Checks the widths of a head, and how many keep keys and values.
    private func validateHeads(_ file: String) throws {
        func checkEven(_ value: Int, _ key: CodingKeys, because reason: String) throws {
            guard value.isMultiple(of: 2) else {
                throw ModelError.configuration(
                    file: file, key: keyName(key), fact: "\(value) is odd; \(reason)")
            }
        }
        try check(valueHeadSize, 1 ... Limit.headWidth, .valueHeadSize, file)
        if let keyValueHeadCount {
            try checkEven(valueHeadSize, .valueHeadSize, because: "keys are read in pairs")
            try check(
                ropeHeadSize, 2 ... valueHeadSize, .ropeHeadSize, file,
                because: "of \(valueHeadSize) values of a head (head_dim) as many turn")
            try check(
                keyValueHeadCount, 1 ... headCount, .keyValueHeadCount, file,
                because: "num_attention_heads")
            guard headCount.isMultiple(of: keyValueHeadCount) else {
                throw ModelError.configuration(
                    file: file, key: CodingKeys.keyValueHeadCount.rawValue,
                    fact: "\(keyValueHeadCount) does not divide num_attention_heads \(headCount)")
            }
        } else {
            try check(latentSize, 1 ... Limit.width, .latentSize, file)
            try check(ropeHeadSize, 2 ... Limit.headWidth, .ropeHeadSize, file)
            try check(nopeHeadSize, 1 ... Limit.headWidth, .nopeHeadSize, file)
        }
        try checkEven(ropeHeadSize, .ropeHeadSize, because: "rotation pairs its values")
    }

    private func validateIndexer(_ file: String) throws {
        guard let indexer else { return }
        try check(indexer.headCount, 1 ... Limit.heads, .indexHeadCount, file)
        try check(
            indexer.headSize, ropeHeadSize ... max(ropeHeadSize, Limit.headWidth), .indexHeadSize,
            file, because: "its first qk_rope_head_dim values are rotated")
        guard queryLatentSize != nil else {
            throw ModelError.configuration(
                file: file, key: CodingKeys.queryLatentSize.rawValue,
                fact: "is missing; the indexer's queries are made of compressed ones")
        }
    }

    private func validateGate(_ file: String) throws {
        try check(routedExpertCount, 1 ... Limit.experts, .routedExpertCount, file)
        try check(expertIntermediateSize, 1 ... Limit.width, .expertIntermediateSize, file)
        try check(sharedExpertCount, 0 ... Limit.experts, .sharedExpertCount, file)
        try check(
            sharedExpertCount, 0 ... Limit.width / expertIntermediateSize, .sharedExpertCount, file,
            because: keyName(.expertIntermediateSize) + " \(expertIntermediateSize)")
        try check(
            activeExpertCount, 1 ... routedExpertCount, .activeExpertCount, file,
            because: keyName(.routedExpertCount))
        try check(
            groupCount, 1 ... routedExpertCount, .groupCount, file,
            because: keyName(.routedExpertCount))
        guard routedExpertCount.isMultiple(of: groupCount) else {
            throw ModelError.configuration(
                file: file, key: "n_group",
                fact: "\(groupCount) does not divide \(keyName(.routedExpertCount)) "
                    + "\(routedExpertCount)")
        }
        try check(keptGroupCount, 1 ... groupCount, .keptGroupCount, file, because: "n_group")
        let groupSize = routedExpertCount / groupCount
        try check(
            activeExpertCount, 1 ... keptGroupCount * groupSize, .activeExpertCount, file,
            because: "topk_group \(keptGroupCount) of \(groupSize) experts")
        if topKMethod == .biased && groupCount > 1 {
            try check(
                groupCount, 1 ... max(1, routedExpertCount / 2), .groupCount, file,
                because: "noaux_tc sums the best two of each group")
        }
    }

    private func validateNumbers(_ file: String) throws {
        func check(
            _ value: Double, _ range: ClosedRange<Double>, _ key: String
        ) throws {
            guard range.contains(value) else {
                throw ModelError.configuration(
                    file: file, key: key,
                    fact: "\(value) is outside \(range.lowerBound)...\(range.upperBound)")
            }
        }
        try check(Double(normEpsilon), 1e-30 ... 1, "rms_norm_eps")
        try check(ropeTheta, 1 ... 1e12, "rope_theta")
        try check(Double(routedScalingFactor), 1e-6 ... 1e6, "routed_scaling_factor")
        if let yarn {
            try check(yarn.factor, 1 ... 1e6, "rope_scaling.factor")
            try check(
                Double(yarn.originalPositionLimit), 1 ... Double(Limit.positions),
                "rope_scaling.original_max_position_embeddings")
            try check(yarn.betaFast, 1e-3 ... 1e6, "rope_scaling.beta_fast")
            try check(yarn.betaSlow, 1e-3 ... 1e6, "rope_scaling.beta_slow")
            try check(yarn.mscale, 0 ... 1e3, "rope_scaling.mscale")
            try check(yarn.mscaleAllDimensions, 0 ... 1e3, "rope_scaling.mscale_all_dim")
            try check(yarn.attentionFactor ?? 1, 1e-3 ... 1e3, "rope_scaling.attention_factor")
        }
    }
}
