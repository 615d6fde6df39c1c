import Checkpoints
import Tensors
import Topology

/// Every weight of a model but the head, asked for but not yet packed.
struct PendingModel {
    let layers: [PendingLayer]
    let mtp: [PendingMTP]
    let embedding: EmbeddingTable
    let finalNorm: Tensor

    /// - Parameters:
    ///   - embedding: Checked before all others: it is in every folder, so a folder of another
    ///     layout is known by it.
    ///   - mtpCount: How many MTP blocks to load.
    ///   - experts: The logical experts of a layer to load.
    init(
        _ context: AttentionContext, embedding: EmbeddingTable, mtpCount: Int,
        from loader: WeightLoader, experts: (_ layer: Int) throws -> [ExpertID]
    ) throws {
        let shape = context.configuration
        self.embedding = embedding
        layers = try (0 ..< shape.layerCount).map {
            try PendingLayer(context, layer: $0, experts: experts($0), from: loader)
        }
        mtp = try (shape.layerCount ..< shape.layerCount + mtpCount).map {
            try PendingMTP(context, layer: $0, experts: experts($0), from: loader)
        }
        finalNorm = try loader.vector(NetworkTensors(shape).finalNorm)
    }
}
