import Encoding

extension ModelConfiguration {
    /// Reads which blocks have experts: two counts, or a list of every block.
    mutating func readExpertLayers(_ box: KeyedDecodingContainer<CodingKeys>) throws {
        var lists: [(key: CodingKeys, layers: [Bool])] = []
        if let strides = try? box.decodeIfPresent([Int].self, forKey: .expertLayerStride) {
            lists.append((.expertLayerStride, strides.map { $0 != 0 }))
        } else {
            let stride = try box.decodeIfPresent(Int.self, forKey: .expertLayerStride)
            expertLayerStride = stride ?? expertLayerStride
        }
        if let kinds = try box.decodeIfPresent([String].self, forKey: .expertLayers) {
            if let other = kinds.first(where: { $0 != "dense" && $0 != "sparse" }) {
                throw Refusal(
                    key: CodingKeys.expertLayers.rawValue,
                    fact: "\(other.printable()) is neither dense nor sparse")
            }
            lists.append((.expertLayers, kinds.map { $0 == "sparse" }))
        }
        // The count may be there too, and then says the same.
        let isCounted = try box.decodeIfPresent(Int.self, forKey: .denseLayerCount) != nil
        for (key, layers) in lists {
            guard layers.count == layerCount else {
                throw Refusal(
                    key: key.rawValue,
                    fact: "lists \(layers.count) blocks; num_hidden_layers is \(layerCount)")
            }
            if isCounted, let wrong = layers.indices.first(where: { contradicts($0, layers) }) {
                throw Refusal(
                    key: key.rawValue,
                    fact: "makes block \(wrong) \(layers[wrong] ? "sparse" : "dense"); "
                        + "first_k_dense_replace is \(denseLayerCount)")
            }
            expertLayers = layers
        }
        guard lists.allSatisfy({ $0.layers == lists[0].layers }) else {
            throw Refusal(
                key: CodingKeys.expertLayers.rawValue, fact: "differs from moe_layer_freq")
        }
        countExpertLayers()
    }

    private func contradicts(_ layer: Int, _ layers: [Bool]) -> Bool {
        layers[layer] != isExpertLayerByCounts(layer)
    }

    /// Says a list by the count of its first blocks where it has no other dense ones, so that one
    /// network has one description.
    mutating func countExpertLayers() {
        guard let layers = expertLayers else { return }
        let dense = layers.prefix { !$0 }.count
        let isCount = layers[dense...].allSatisfy { $0 }
        (denseLayerCount, expertLayerStride) = (isCount ? dense : 0, 1)
        if isCount { expertLayers = nil }
    }

    /// Reads a key that has two names, of which both may be there with one value.
    static func one(
        of key: CodingKeys, _ other: CodingKeys, _ box: KeyedDecodingContainer<CodingKeys>,
        or absent: Int? = nil
    ) throws -> Int {
        let values = try [key, other].map { try box.decodeIfPresent(Int.self, forKey: $0) }
        if let first = values[0], let second = values[1], first != second {
            throw Refusal(key: other.rawValue, fact: "\(second); \(key.rawValue) is \(first)")
        }
        guard let value = values[0] ?? values[1] ?? absent else {
            return try box.decode(Int.self, forKey: key)
        }
        return value
    }
}
