import Tensors

/// Runs multi-head latent attention in its absorbed form, for prefill and decode alike.
///
/// With latent `c`, rotated shared key `k_R`, and a head's query `q = [q_nope | q_rope]`:
///
///     score(t, j) = (q_nope W_UK) . c_j  +  q_rope . k_R,j
///     out(t)      = (sum_j softmax(score)_j c_j) W_UV^T
///
/// so that no key or value is ever unfolded from the cache. One form for every batch shape is
/// also what keeps a token's bits independent of how its prompt was cut.
///
/// The absorbed queries are the widest activation by far (73,728 values per token in DeepSeek-V3),
/// so attention works on tiles of rows.
///
/// Source: DeepSeek-V2 report, §2.1.2.
struct LatentAttention: AttentionLayer {
    /// Floats that a tile of absorbed queries may take: 32 MiB.
    private static let tileFloats = 8 << 20
    /// Fewer rows would starve the matrix kernels.
    private static let smallestTile = 32
    /// The norms of queries and latents keep this epsilon whatever `rms_norm_eps` says.
    static let latentEpsilon: Float = 1e-6

    private let weights: LatentAttentionWeights
    private let context: AttentionContext
    private let shape: ModelConfiguration
    /// Chooses what tokens see; nil where attention is dense, or an earlier block has chosen.
    private let indexer: Indexer?
    /// Column of each head's query, absorbed query, context and value.
    private let heads: Range<Int>
    private let tileRows: Int

    init(
        _ weights: LatentAttentionWeights, _ context: AttentionContext, indexer: Indexer? = nil
    ) {
        self.weights = weights
        self.indexer = indexer
        self.context = context
        shape = context.configuration
        heads = 0 ..< shape.headCount
        tileRows = max(Self.smallestTile, Self.tileFloats / (heads.count * shape.cacheWidth))
    }

    static func entryBytes(of shape: ModelConfiguration, format: EntryFormat) -> Int {
        entry(of: shape, format: format).byteCount
    }

    private static func entry(of shape: ModelConfiguration, format: EntryFormat) -> LatentEntry {
        LatentEntry(format: format, latent: shape.latentSize, rope: shape.ropeHeadSize)
    }

    static func sharedWidths(of shape: ModelConfiguration) -> (inputs: Int, outputs: Int) {
        let heads = shape.headCount
        let (values, queries) = (heads * shape.valueHeadSize, heads * shape.queryHeadSize)
        let down = shape.cacheWidth + (shape.queryLatentSize ?? 0)
        return (
            inputs: max(heads * shape.latentSize, values, shape.queryLatentSize ?? 0),
            outputs: max(heads * shape.cacheWidth, queries, values, down)
        )
    }

    var weightCount: WeightCount {
        var count = weights.count
        if let indexer { count.add(indexer.weightCount) }
        return count
    }

    /// Memory of one call.
    private enum Scratch: Int {
        /// `[rows, latent + rope]`.
        case latents
        /// `[rows, queryLatent]`.
        case queryLatents
        /// `[tile, heads * (nope + rope)]`.
        case queries
        /// `[tile, heads * (latent + rope)]`.
        case absorbed
        /// `[tile, heads * latent]`.
        case context
        /// `[tile, heads * value]`.
        case values
    }

    private func scratch(_ kind: Scratch, _ rows: Int, _ columns: Int) -> Tensor {
        context.scratch.rows(kind.rawValue, rows, columns: columns)
    }

    func run(
        _ input: Tensor, _ rows: BatchRows, block: (layer: Int, store: BlockStore),
        products: BatchProducts, into output: Tensor
    ) throws {
        let (store, layer) = (block.store, block.layer)
        let latents = scratch(.latents, input.rows, shape.cacheWidth)
        // Without compression the queries are projected from the input.
        var source = input
        var down = [(weight: weights.latentDown, y: latents)]
        if let query = weights.queryDown {
            source = scratch(.queryLatents, input.rows, query.weight.outputs)
            down.append((query.weight, source))
        }
        try products.multiply(input, down, layer: layer)
        if let query = weights.queryDown {
            rmsNorm(
                source, weight: query.norm, epsilon: Self.latentEpsilon, into: source,
                pool: context.pool)
        }
        let entry = Self.entry(of: shape, format: store.format)
        context.rotary.cover(rows.positions)
        cache(latents, as: entry, rows, store)
        if let indexer, input.rows > 0 {
            rows.choice.chosen = indexer.choose(input, queries: source, rows, store: store)
        }
        var batch = rows.attention
        batch.chosen = rows.choice.chosen
        var first = 0
        // Ranks share products of one tile alone; one that helps has a tile of no rows.
        repeat {
            let tile = first ..< min(first + tileRows, input.rows)
            let values = try attend(
                queriesFrom: source.view(rows: tile), rows, tile, batch, block, entry, products)
            try products.multiply(
                values, [(weights.output, output.view(rows: tile))], layer: layer)
            first = tile.upperBound
        } while first < input.rows
    }

    /// Norms and rotates the new latents and stores them, so that a token sees itself.
    private func cache(
        _ latents: Tensor, as entry: LatentEntry, _ rows: BatchRows, _ store: BlockStore
    ) {
        rmsNorm(
            latents, weight: weights.latentNorm, epsilon: Self.latentEpsilon,
            columns: 0 ..< shape.latentSize, into: latents, pool: context.pool)
        rope(
            latents, slices: RotarySlices(first: shape.latentSize), positions: rows.positions,
            cosines: context.rotary.cosines, sines: context.rotary.sines, of: shape.rotaryPairs,
            pool: context.pool)
        for (row, place) in rows.places.enumerated() {
            entry.write(latents.row(row), to: store, block: place.block, slot: place.slot)
        }
    }

    /// Computes the heads' values of a tile of rows.
    private func attend(
        queriesFrom source: Tensor, _ rows: BatchRows, _ tile: Range<Int>,
        _ batch: AttentionBatch, _ block: (layer: Int, store: BlockStore), _ entry: LatentEntry,
        _ products: BatchProducts
    ) throws -> Tensor {
        let (compute, pool) = (context.compute, context.pool)
        let (width, latent, count) = (shape.cacheWidth, shape.latentSize, source.rows)
        let absorbed = scratch(.absorbed, count, heads.count * width)
        let summed = scratch(.context, count, heads.count * latent)
        let values = scratch(.values, count, heads.count * shape.valueHeadSize)
        let panel = Weight.panelOutputs
        let together = (1 ... panel).first { $0 * shape.queryHeadSize % panel == 0 } ?? panel
        try products.perHead(
            source, width: weights.query.inputs, heads: (heads.count, together), size: width,
            into: absorbed, layer: block.layer, absorb)
        rope(
            absorbed, slices: RotarySlices(first: latent, stride: width, count: heads.count),
            positions: Array(rows.positions[tile]), cosines: context.rotary.cosines,
            sines: context.rotary.sines, of: shape.rotaryPairs, pool: pool)
        if count > 0 {
            entry.attend(
                absorbed, batch: batch.rows(tile), store: block.store, heads: heads.count,
                scale: shape.attentionScale, into: summed, compute: compute, pool: pool)
        }
        try products.perHead(
            summed, width: heads.count * latent, heads: (heads.count, 1),
            size: shape.valueHeadSize, into: values, layer: block.layer
        ) { summed, heads, values, column in
            linear(
                heads.enumerated().map { index, head in
                    LinearPart(
                        summed, column: head * latent, weights.valueUp[head], into: values,
                        column: column + index * shape.valueHeadSize)
                }, compute: compute, pool: pool)
        }
        return values
    }

    /// Computes the absorbed queries of some heads, the last values of each not yet rotated.
    ///
    /// - Parameters:
    ///   - source: What queries are projected from.
    ///   - absorbed: Receives `latent + rope` values of each head, from a column on.
    private func absorb(
        _ source: Tensor, _ part: Range<Int>, _ absorbed: Tensor, _ column: Int
    ) {
        let (nope, width) = (shape.nopeHeadSize, shape.cacheWidth)
        let (size, latent) = (shape.queryHeadSize, shape.latentSize)
        let queries = scratch(.queries, source.rows, heads.count * size)
        let (first, end) = (part.lowerBound * size, part.upperBound * size)
        linear(
            [
                LinearPart(
                    source, column: 0, weights.query, outputs: first ..< end, into: queries,
                    column: first)
            ], compute: context.compute, pool: context.pool)
        linear(
            part.enumerated().map { index, head in
                LinearPart(
                    queries, column: head * size, weights.keyUp[head], into: absorbed,
                    column: column + index * width)
            }, compute: context.compute, pool: context.pool)
        copySlices(
            queries, RotarySlices(first: first + nope, stride: size, count: part.count),
            into: absorbed,
            RotarySlices(first: column + latent, stride: width, count: part.count),
            width: shape.ropeHeadSize, pool: context.pool)
    }

    func work(_ rows: BatchRows, store: BlockStore) -> WorkCount {
        let batch = rows.attention
        var work = indexer?.work(batch, store: store) ?? WorkCount()
        let perEntry = 2 * heads.count * (shape.latentSize + shape.cacheWidth)
        let isSparse = shape.indexer != nil && !self.context.isDense
        let most = isSparse ? shape.sparseIndexCount ?? Int.max : Int.max
        var last = -1
        for (sequence, context) in zip(batch.sequences, batch.contexts).reversed() {
            // The last row of a sequence sees all of its entries, the others some of them; of
            // chosen entries it is what one row sees at least.
            let seen = min(Int(context), most)
            if Int(sequence) != last { work.readBytes += seen * store.entryBytes }
            last = Int(sequence)
            work.attentionOperations += seen * perEntry
        }
        return work
    }
}
