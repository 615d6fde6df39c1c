/// What decides how long a block of a network takes.
package struct BlockKind: Hashable, Codable, Sendable {
    /// Whether it has routed experts.
    package let hasExperts: Bool
    /// Whether it runs an indexer.
    package let hasIndexer: Bool
    /// Entries that a token sees at most; nil for all.
    package let window: Int?

    /// As tables name it.
    package var name: String {
        (hasExperts ? "experts" : "dense") + (hasIndexer ? ", indexer" : "")
            + (window.map { ", window \($0)" } ?? "")
    }
}

extension ModelConfiguration {
    /// The kind of a main block.
    package func kind(layer: Int) -> BlockKind {
        BlockKind(
            hasExperts: hasExperts(layer: layer), hasIndexer: hasIndexer(layer: layer),
            window: windowSize(layer: layer))
    }

    /// A network of some of this one's main blocks, in this order, without MTP blocks.
    ///
    /// Its tensors keep their names, because a quantization says by name how each is stored.
    ///
    /// - Parameter layers: Of blocks that share another's choice of entries, only with one that
    ///   chooses before them.
    package func keeping(_ layers: [Int]) -> ModelConfiguration {
        var part = self
        part.expertLayers = layers.map { hasExperts(layer: $0) }
        part.originalLayers = layers.map { originalLayers?[$0] ?? $0 }
        part.layerCount = layers.count
        part.mtpLayerCount = 0
        part.denseLayerCount = min(denseLayerCount, layers.count)
        if let window {
            part.window = AttentionWindow(
                size: window.size, layers: layers.map { window.layers[$0] })
        }
        if let sharing = indexer?.sharing {
            part.indexer?.sharing = layers.map { sharing[$0] }
        }
        return part
    }
}
