import Checkpoints
import Tensors

/// What the tensors of the indexer are called, inside a block.
struct IndexerNames: Sendable {
    /// From compressed queries to the indexer's heads.
    let query: String
    /// From the stream to the key.
    let key: String
    /// On the key.
    let keyNorm: String
    /// Added to the normed key.
    let keyNormBias: String
    /// From the stream to the weights of the heads.
    let headWeights: String
}

/// The tensors of one block's indexer.
struct IndexerTensors {
    /// `[heads * size, queryLatent]`.
    let query: NetworkTensor
    /// `[size, hidden]`.
    let key: NetworkTensor
    /// `[size]`.
    let keyNorm: NetworkTensor
    /// `[size]`.
    let keyNormBias: NetworkTensor
    /// `[heads, hidden]`; FP8 checkpoints leave it wide.
    let headWeights: NetworkTensor

    /// - Returns: Nil for a block that runs no indexer.
    init?(
        _ names: LatentAttentionNames, _ shape: ModelConfiguration, layer: Int, prefix: String
    ) {
        guard let names = names.indexer, let indexer = shape.indexer,
            let queryLatent = shape.queryLatentSize, shape.hasIndexer(layer: layer)
        else { return nil }
        func tensor(
            _ name: String, _ shape: [Int], _ role: NetworkTensor.Role
        ) -> NetworkTensor {
            NetworkTensor(name: prefix + name, shape: shape, role: role)
        }
        let (heads, size) = (indexer.headCount, indexer.headSize)
        query = tensor(names.query, [heads * size, queryLatent], .projection)
        key = tensor(names.key, [size, shape.hiddenSize], .projection)
        keyNorm = tensor(names.keyNorm, [size], .norm)
        keyNormBias = tensor(names.keyNormBias, [size], .bias)
        headWeights = tensor(names.headWeights, [heads, shape.hiddenSize], .wide)
    }

    var all: [NetworkTensor] { [query, key, keyNorm, keyNormBias, headWeights] }
}

/// The weights of one block's indexer.
struct IndexerWeights {
    let query: Weight
    let key: Weight
    let keyNorm: Tensor
    let keyNormBias: Tensor
    let headWeights: Weight
}

/// The weights of an indexer, asked for but not yet packed.
struct PendingIndexer {
    private let query: WeightLoader.Slot
    private let key: WeightLoader.Slot
    private let keyNorm: Tensor
    private let keyNormBias: Tensor
    private let headWeights: WeightLoader.Slot

    init(_ tensors: IndexerTensors, from loader: WeightLoader) throws {
        query = try loader.matrix(tensors.query)
        key = try loader.matrix(tensors.key)
        keyNorm = try loader.vector(tensors.keyNorm)
        keyNormBias = try loader.vector(tensors.keyNormBias)
        headWeights = try loader.matrix(tensors.headWeights)
    }

    /// The packed weights.
    var weights: IndexerWeights {
        IndexerWeights(
            query: query.weight, key: key.weight, keyNorm: keyNorm, keyNormBias: keyNormBias,
            headWeights: headWeights.weight)
    }
}
