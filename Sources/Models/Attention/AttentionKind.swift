import Checkpoints
import Tensors

/// How the blocks of a family attend, and what it calls the tensors of that.
///
/// A new kind is a case here, a conformer of `AttentionLayer`, and its trained counterpart.
enum AttentionKind: Sendable {
    /// Multi-head latent attention.
    case latent(LatentAttentionNames)
    /// Grouped queries.
    case grouped(GroupedAttentionNames)

    /// The names of the matrices that FP8 checkpoints store in FP8.
    var projectionNames: [String] {
        switch self {
        case .latent(let names): names.projections
        case .grouped(let names): names.projections
        }
    }

    /// The tensors of one block's attention.
    func tensors(of shape: ModelConfiguration, layer: Int, prefix: String) -> [NetworkTensor] {
        switch self {
        case .latent(let names):
            LatentAttentionTensors(names, shape, prefix: prefix).all
                + (IndexerTensors(names, shape, layer: layer, prefix: prefix)?.all ?? [])
        case .grouped(let names): GroupedAttentionTensors(names, shape, prefix: prefix).all
        }
    }

    /// Bytes that a token takes in the cache of one layer.
    func entryBytes(of shape: ModelConfiguration, format: EntryFormat) -> Int {
        switch self {
        case .latent: LatentAttention.entryBytes(of: shape, format: format)
        case .grouped: GroupedAttention.entryBytes(of: shape, format: format)
        }
    }

    /// Bytes that a token takes beside the cache of one layer: the indexer's key.
    func besideBytes(of shape: ModelConfiguration, layer: Int, format: EntryFormat) -> Int {
        switch self {
        case .latent: Indexer.entryBytes(of: shape, layer: layer, format: format)
        case .grouped: 0
        }
    }

    /// Values of the widest row, and of the widest results, of a product that ranks may share.
    func sharedWidths(of shape: ModelConfiguration) -> (inputs: Int, outputs: Int) {
        switch self {
        case .latent: LatentAttention.sharedWidths(of: shape)
        case .grouped: GroupedAttention.sharedWidths(of: shape)
        }
    }

    /// Asks for the weights of one block's attention.
    ///
    /// - Returns: Makes the layer, once the loader has loaded.
    func request(
        _ context: AttentionContext, layer: Int, prefix: String, from loader: WeightLoader
    ) throws -> () -> any AttentionLayer {
        switch self {
        case .latent(let names):
            let tensors = LatentAttentionTensors(names, context.configuration, prefix: prefix)
            let pending = try PendingLatentAttention(tensors, context.configuration, from: loader)
            let indexer = try IndexerTensors(
                names, context.configuration, layer: layer, prefix: prefix
            ).map { try PendingIndexer($0, from: loader) }
            return {
                LatentAttention(
                    pending.weights, context,
                    indexer: indexer.map { Indexer($0.weights, context) })
            }
        case .grouped(let names):
            let tensors = GroupedAttentionTensors(names, context.configuration, prefix: prefix)
            let pending = try PendingGroupedAttention(tensors, from: loader)
            let window = context.configuration.windowSize(layer: layer)
            return { GroupedAttention(pending.weights, context, window: window) }
        }
    }

    /// One block's attention while it trains.
    func trained(_ context: TrainingContext, prefix: String) -> any TrainedAttention {
        switch self {
        case .latent(let names):
            TrainedLatentAttention(
                LatentAttentionTensors(names, context.configuration, prefix: prefix),
                context: context)
        case .grouped:
            preconditionFailure("grouped queries are not trained (ModelConfiguration.trains)")
        }
    }
}

extension ModelConfiguration {
    /// Bytes that a token takes in the cache of one layer.
    func entryBytes(format: EntryFormat) -> Int {
        architecture.attention.entryBytes(of: self, format: format)
    }

    /// Bytes that a token takes beside the cache of one layer.
    func besideBytes(layer: Int, format: EntryFormat) -> Int {
        architecture.attention.besideBytes(of: self, layer: layer, format: format)
    }

    /// Bytes that a token takes in these layers.
    func tokenBytes(layers: Range<Int>, format: EntryFormat) -> Int {
        layers.reduce(layers.count * entryBytes(format: format)) {
            $0 + besideBytes(layer: $1, format: format)
        }
    }
}
