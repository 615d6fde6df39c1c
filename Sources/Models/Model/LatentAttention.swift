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
/// Source: DeepSeek-V2 report, §2.1.2.
struct LatentAttention {
    let configuration: ModelConfiguration
    let rotary: RotaryTables
    let compute: Compute
    let pool: ThreadPool
    /// Column of each head's query, absorbed query, context and value.
    private let heads: Range<Int>

    init(
        _ configuration: ModelConfiguration, rotary: RotaryTables, compute: Compute,
        pool: ThreadPool
    ) {
        self.configuration = configuration
        self.rotary = rotary
        self.compute = compute
        self.pool = pool
        heads = 0 ..< configuration.headCount
    }

    /// Adds the attention of one block to the residual stream and caches the rows' latents.
    func run(_ weights: AttentionWeights, rows: BatchRows, store: LatentStore, in work: Workspace) {
        let count = rows.tokens.count
        let stream = work.stream.view(rows: 0 ..< count)
        let normed = work.normed.view(rows: 0 ..< count)
        let latents = work.latents.view(rows: 0 ..< count)
        rmsNorm(
            stream, weight: weights.inputNorm, epsilon: configuration.normEpsilon, into: normed,
            pool: pool)
        // Without compression the queries are projected from the normed stream.
        var source = normed
        var down = [LinearPart(normed, weights.latentDown, into: latents)]
        if let query = weights.queryDown {
            source = work.queryLatents.view(rows: 0 ..< count)
            down.append(LinearPart(normed, query.weight, into: source))
        }
        linear(down, compute: compute, pool: pool)
        if let query = weights.queryDown {
            rmsNorm(
                source, weight: query.norm, epsilon: Self.latentEpsilon, into: source, pool: pool)
        }
        cache(latents, weights, rows, store)
        let output = work.output.view(rows: 0 ..< count)
        var first = 0
        while first < count {
            let tile = first ..< min(first + work.tileRows, count)
            attend(
                weights, queriesFrom: source.view(rows: tile), rows: rows, tile: tile,
                store: store, in: work)
            linear(
                work.values.view(rows: 0 ..< tile.count), weights.output,
                into: output.view(rows: tile), compute: compute, pool: pool)
            first = tile.upperBound
        }
        add(output, into: stream, pool: pool)
    }

    /// `q_a_layernorm` and `kv_a_layernorm` keep this epsilon whatever `rms_norm_eps` says.
    private static let latentEpsilon: Float = 1e-6

    /// Norms and rotates the new latents and stores them, so that a token sees itself.
    private func cache(
        _ latents: Tensor, _ weights: AttentionWeights, _ rows: BatchRows, _ store: LatentStore
    ) {
        rmsNorm(
            latents, weight: weights.latentNorm, epsilon: Self.latentEpsilon,
            columns: 0 ..< configuration.latentSize, into: latents, pool: pool)
        rope(
            latents, slices: RotarySlices(first: configuration.latentSize),
            positions: rows.positions, cosines: rotary.cosines, sines: rotary.sines, pool: pool)
        for (row, place) in rows.places.enumerated() {
            store.write(latents.row(row), block: place.block, slot: place.slot)
        }
    }

    /// Computes the heads' values of a tile of rows.
    private func attend(
        _ weights: AttentionWeights, queriesFrom source: Tensor, rows: BatchRows,
        tile: Range<Int>, store: LatentStore, in work: Workspace
    ) {
        let (nope, width) = (configuration.nopeHeadSize, configuration.cacheWidth)
        let (size, latent) = (configuration.queryHeadSize, configuration.latentSize)
        let queries = work.queries.view(rows: 0 ..< tile.count)
        let absorbed = work.absorbed.view(rows: 0 ..< tile.count)
        let context = work.context.view(rows: 0 ..< tile.count)
        let values = work.values.view(rows: 0 ..< tile.count)
        linear(source, weights.query, into: queries, compute: compute, pool: pool)
        rope(
            queries, slices: RotarySlices(first: nope, stride: size, count: heads.count),
            positions: Array(rows.positions[tile]), cosines: rotary.cosines,
            sines: rotary.sines, pool: pool)
        linear(
            heads.map { head in
                LinearPart(
                    queries, column: head * size, weights.keyUp[head], into: absorbed,
                    column: head * width)
            }, compute: compute, pool: pool)
        copySlices(
            queries, RotarySlices(first: nope, stride: size, count: heads.count),
            into: absorbed, RotarySlices(first: latent, stride: width, count: heads.count),
            width: configuration.ropeHeadSize, pool: pool)
        latentAttention(
            absorbed, batch: rows.attention.rows(tile), store: store, heads: heads.count,
            scale: configuration.attentionScale, into: context, compute: compute, pool: pool)
        linear(
            heads.map { head in
                LinearPart(
                    context, column: head * latent, weights.valueUp[head], into: values,
                    column: head * configuration.valueHeadSize)
            }, compute: compute, pool: pool)
    }
}
