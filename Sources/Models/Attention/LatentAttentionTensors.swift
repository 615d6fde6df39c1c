/// What the tensors of multi-head latent attention are called, inside a block.
struct LatentAttentionNames: Sendable {
    /// Compresses queries.
    let queryDown: String
    /// On compressed queries.
    let queryNorm: String
    /// From compressed queries to the heads.
    let queryUp: String
    /// From the stream to the heads, where queries are not compressed.
    let query: String
    /// From the stream to the latent and the shared rotated key.
    let latentDown: String
    /// On the latent.
    let latentNorm: String
    /// From the latent to the heads: per head the key's rows, then the value's.
    let latentUp: String
    /// From the heads' values to the stream.
    let output: String
    /// Those of the indexer; nil for a family without one.
    var indexer: IndexerNames?

    /// The names of the matrices.
    var projections: [String] {
        [queryDown, queryUp, query, latentDown, latentUp, output]
            + (indexer.map { [$0.query, $0.key] } ?? [])
    }
}

/// The tensors of one block's multi-head latent attention.
struct LatentAttentionTensors {
    /// `[queryLatent, hidden]` and its norm `[queryLatent]`; nil where queries are not compressed.
    let queryDown: (matrix: NetworkTensor, norm: NetworkTensor)?
    /// `[heads * (nope + rope), queryLatent or hidden]`.
    let query: NetworkTensor
    /// `[latent + rope, hidden]`.
    let latentDown: NetworkTensor
    /// `[latent]`.
    let latentNorm: NetworkTensor
    /// `[heads * (nope + value), latent]`.
    let latentUp: NetworkTensor
    /// `[hidden, heads * value]`.
    let output: NetworkTensor

    init(_ names: LatentAttentionNames, _ shape: ModelConfiguration, prefix: String) {
        func matrix(_ name: String, _ rows: Int, _ columns: Int) -> NetworkTensor {
            NetworkTensor(name: prefix + name, shape: [rows, columns], role: .projection)
        }
        func norm(_ name: String, _ count: Int) -> NetworkTensor {
            NetworkTensor(name: prefix + name, shape: [count], role: .norm)
        }
        let (hidden, heads) = (shape.hiddenSize, shape.headCount)
        let queryWidth = heads * shape.queryHeadSize
        if let size = shape.queryLatentSize {
            queryDown = (matrix(names.queryDown, size, hidden), norm(names.queryNorm, size))
            query = matrix(names.queryUp, queryWidth, size)
        } else {
            queryDown = nil
            query = matrix(names.query, queryWidth, hidden)
        }
        latentDown = matrix(names.latentDown, shape.cacheWidth, hidden)
        latentNorm = norm(names.latentNorm, shape.latentSize)
        latentUp = matrix(
            names.latentUp, heads * (shape.nopeHeadSize + shape.valueHeadSize), shape.latentSize)
        output = matrix(names.output, hidden, heads * shape.valueHeadSize)
    }

    var all: [NetworkTensor] {
        (queryDown.map { [$0.matrix, $0.norm] } ?? [])
            + [query, latentDown, latentNorm, latentUp, output]
    }
}
