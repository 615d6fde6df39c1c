import Tensors

/// Chooses the tokens that attention sees, where there are more than `index_topk`.
///
///     score(t, p) = sum over heads of w(t) max(0, q(t) . k(p)),   q(t) from the compressed query
///
/// Of equal scores the lower position is chosen. A head's first values are rotated, as many as
/// attention's. The weights of the heads are computed in fp32, as the gate's scores are, because
/// they decide. DeepSeek's code also turns queries and keys by a Hadamard matrix, which changes no
/// product, and rounds both to FP8; here a key is rounded as the cache stores it, and a query as
/// an input of a matrix product. The factor `index_head_dim^-½ index_n_heads^-½` is left out: it
/// changes no choice.
///
/// Source: DeepSeek-V3.2 report, §2.1; Transformers' `GlmMoeDsaIndexer` and `DeepseekV32Indexer`.
struct Indexer {
    /// Floats that the queries of a tile may take: 8 MiB, 256 rows of DeepSeek-V3.2.
    private static let tileFloats = 2 << 20
    /// Rows of a tile at most, and where a row is larger than any that is published.
    private static let tileLimits = 8 ... 256
    /// Of the keys' norm, whatever `rms_norm_eps` says.
    private static let normEpsilon: Float = 1e-6

    private let weights: IndexerWeights
    private let context: AttentionContext
    private let shape: IndexerShape
    private let count: Int
    /// Rows whose queries are computed together.
    private let tileRows: Int

    init(_ weights: IndexerWeights, _ context: AttentionContext) {
        guard let shape = context.configuration.indexer,
            let count = context.configuration.sparseIndexCount
        else { preconditionFailure("a configuration without an indexer") }
        self.weights = weights
        self.context = context
        self.shape = shape
        self.count = count
        let rows = Self.tileFloats / (shape.headCount * shape.headSize)
        let limits = Self.tileLimits
        tileRows = min(limits.upperBound, max(limits.lowerBound, rows))
    }

    /// Bytes of a token's key in one layer; 0 in a layer that has no indexer.
    static func entryBytes(
        of shape: ModelConfiguration, layer: Int, format: EntryFormat
    ) -> Int {
        guard let indexer = shape.indexer, shape.hasIndexer(layer: layer) else { return 0 }
        return IndexKey(format: format, width: indexer.headSize).byteCount
    }

    /// The size of its matrices: the key's, which every token needs, and the others.
    var weightCount: WeightCount {
        WeightCount([weights.query, weights.key, weights.headWeights])
    }

    /// Memory of one call, after that of the attention that it belongs to.
    private enum Scratch: Int {
        /// `[rows, size]`.
        case keys = 8
        /// `[tile, heads * size]`.
        case queries
        /// `[tile, heads]`.
        case headWeights
    }

    private func scratch(_ kind: Scratch, _ rows: Int, _ columns: Int) -> Tensor {
        context.scratch.rows(kind.rawValue, rows, columns: columns)
    }

    private func key(_ store: BlockStore) -> IndexKey {
        IndexKey(format: store.format, width: shape.headSize)
    }

    private func keys(beside store: BlockStore) -> BlockStore {
        guard let keys = store.beside else {
            preconditionFailure("a store without keys of the indexer")
        }
        return keys
    }

    /// Stores the keys of new tokens, and chooses what each of them sees.
    ///
    /// - Parameters:
    ///   - input: `[rows, hidden]`, normed.
    ///   - queries: `[rows, queryLatent]`, normed.
    /// - Returns: Nil where no row sees more than `index_topk` tokens.
    func choose(
        _ input: Tensor, queries: Tensor, _ rows: BatchRows, store: BlockStore
    ) -> ChosenPositions? {
        let keys = keys(beside: store)
        cacheKeys(input, rows, keys)
        let contexts = rows.attention.contexts
        guard contexts.contains(where: isChoosing) else { return nil }
        var chosen = ChosenPositions(tokens: input.rows, count: count)
        for tile in tiles(input.rows) where contexts[tile].contains(where: isChoosing) {
            let turned = turnedQueries(queries.view(rows: tile), rows.positions[tile])
            let headWeights = scratch(.headWeights, tile.count, shape.headCount)
            linear(
                input.view(rows: tile), weights.headWeights, into: headWeights, compute: .float32,
                pool: context.pool)
            chosen.replace(
                tile,
                with: key(keys).choose(
                    count, turned, weights: headWeights, batch: rows.attention.rows(tile),
                    store: keys, compute: context.compute, pool: context.pool))
        }
        return chosen
    }

    private func cacheKeys(_ input: Tensor, _ rows: BatchRows, _ store: BlockStore) {
        let keys = scratch(.keys, input.rows, shape.headSize)
        linear(input, weights.key, into: keys, compute: context.compute, pool: context.pool)
        layerNorm(
            keys, weight: weights.keyNorm, bias: weights.keyNormBias, epsilon: Self.normEpsilon,
            pool: context.pool)
        turn(keys, RotarySlices(first: 0), rows.positions)
        let key = key(store)
        for (row, place) in rows.places.enumerated() {
            key.write(keys.row(row), to: store, block: place.block, slot: place.slot)
        }
    }

    private func turnedQueries(_ source: Tensor, _ positions: ArraySlice<Int32>) -> Tensor {
        let width = shape.headCount * shape.headSize
        let queries = scratch(.queries, source.rows, width)
        linear(source, weights.query, into: queries, compute: context.compute, pool: context.pool)
        turn(
            queries, RotarySlices(first: 0, stride: shape.headSize, count: shape.headCount),
            Array(positions))
        return queries
    }

    private func turn(_ values: Tensor, _ slices: RotarySlices, _ positions: [Int32]) {
        rope(
            values, slices: slices, positions: positions, cosines: context.rotary.cosines,
            sines: context.rotary.sines, of: shape.rotatesNeighbours ? .neighbours : .halves,
            pool: context.pool)
    }

    /// What `choose` reads from the cache of keys and computes there at least, less the products
    /// of matrices that it leaves out where rows see all.
    func work(_ batch: AttentionBatch, store: BlockStore) -> WorkCount {
        var work = WorkCount()
        let keys = keys(beside: store)
        var last: Int32 = -1
        for (sequence, context) in zip(batch.sequences, batch.contexts).reversed()
        where isChoosing(context) {
            if sequence != last { work.readBytes += Int(context) * keys.entryBytes }
            last = sequence
            work.attentionOperations += 2 * Int(context) * shape.headCount * shape.headSize
        }
        let idle = tiles(batch.tokenCount).filter {
            !batch.contexts[$0].contains(where: isChoosing)
        }
        let idleRows = idle.reduce(0) { $0 + $1.count }
        let matrices = WeightCount([weights.query, weights.headWeights])
        work.matrixOperations -= 2 * matrices.parameters * idleRows
        if idleRows == batch.tokenCount { work.readBytes -= matrices.bytes }
        return work
    }

    /// Whether a row that sees so many entries has a choice to make.
    private func isChoosing(_ context: Int32) -> Bool { !self.context.isDense && context > count }

    private func tiles(_ rows: Int) -> [Range<Int>] {
        stride(from: 0, to: rows, by: tileRows).map { $0 ..< min($0 + tileRows, rows) }
    }
}
