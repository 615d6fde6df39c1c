import Tensors

/// Runs grouped-query attention: neighbouring query heads share the keys and values of one head.
///
///     out(t) = (sum_j softmax(scale q . k_j) v_j) W_O^T
///
/// with queries and keys normed first, where the network norms them, and then rotated in their
/// first values; the others carry no position. A block with a window sums over the last entries,
/// and a sink joins the softmax of its head without a value.
///
/// Source: GQA (arXiv 2305.13245), section 2.2; partial rotation as in GPT-NeoX; window and sinks
/// as in gpt-oss (arXiv 2508.10925), section 2.
struct GroupedAttention: AttentionLayer {
    /// Floats that a tile of queries may take: 32 MiB.
    private static let tileFloats = 8 << 20
    /// Fewer rows would starve the matrix kernels.
    private static let smallestTile = 32

    private let weights: GroupedAttentionWeights
    private let context: AttentionContext
    private let shape: ModelConfiguration
    private let keyHeads: Int
    /// Values of a head.
    private let size: Int
    private let tileRows: Int
    /// Entries that a token sees; nil for all.
    private let window: Int?

    init(_ weights: GroupedAttentionWeights, _ context: AttentionContext, window: Int?) {
        self.window = window
        self.weights = weights
        self.context = context
        shape = context.configuration
        keyHeads = Self.keyHeads(of: shape)
        size = shape.queryHeadSize
        tileRows = max(Self.smallestTile, Self.tileFloats / (shape.headCount * size))
    }

    private static func keyHeads(of shape: ModelConfiguration) -> Int {
        shape.keyValueHeadCount ?? shape.headCount
    }

    private static func entry(of shape: ModelConfiguration, format: EntryFormat) -> GroupedEntry {
        GroupedEntry(format: format, heads: keyHeads(of: shape), size: shape.queryHeadSize)
    }

    static func entryBytes(of shape: ModelConfiguration, format: EntryFormat) -> Int {
        entry(of: shape, format: format).byteCount
    }

    static func sharedWidths(of shape: ModelConfiguration) -> (inputs: Int, outputs: Int) {
        let queries = shape.headCount * shape.queryHeadSize
        let keys = keyHeads(of: shape) * shape.queryHeadSize
        return (inputs: queries, outputs: queries + 2 * keys)
    }

    var weightCount: WeightCount { weights.count }

    /// Memory of one call.
    private enum Scratch: Int {
        /// `[rows, keyHeads * size]`.
        case keys
        /// `[rows, keyHeads * size]`.
        case values
        /// `[rows, keyHeads * (key | value)]`.
        case entries
        /// `[tile, heads * size]`.
        case queries
        /// `[tile, heads * size]`.
        case sums
    }

    private func scratch(_ kind: Scratch, _ rows: Int, _ columns: Int) -> Tensor {
        context.scratch.rows(kind.rawValue, rows, columns: columns)
    }

    func run(
        _ input: Tensor, _ rows: BatchRows, block: (layer: Int, store: BlockStore),
        products: BatchProducts, into output: Tensor
    ) throws {
        let (store, layer) = (block.store, block.layer)
        let entry = Self.entry(of: shape, format: store.format)
        let keys = scratch(.keys, input.rows, keyHeads * size)
        let values = scratch(.values, input.rows, keyHeads * size)
        context.rotary.cover(rows.positions)
        // A small batch asks for its queries with its keys: one fork and join.
        let queries = scratch(.queries, min(tileRows, input.rows), shape.headCount * size)
        let isWhole = input.rows <= tileRows
        try project(
            input,
            [(weights.key, keys), (weights.value, values)]
                + (isWhole ? [(weights.query, queries)] : []), products, layer)
        turn(keys, heads: keyHeads, norm: weights.norms?.key, positions: rows.positions)
        cache(keys, values, as: entry, rows, store)
        var first = 0
        // Ranks share products of one tile alone; one that helps has a tile of no rows.
        repeat {
            let tile = first ..< min(first + tileRows, input.rows)
            let part = queries.view(rows: 0 ..< tile.count)
            if !isWhole {
                try project(input.view(rows: tile), [(weights.query, part)], products, layer)
            }
            let sums = attend(part, rows, tile, store: store, entry)
            try project(sums, [(weights.output, output.view(rows: tile))], products, layer)
            first = tile.upperBound
        } while first < input.rows
    }

    /// Multiplies by matrices, all in one fork and join, and adds their biases.
    private func project(
        _ input: Tensor, _ parts: [(to: GroupedAttentionWeights.Projection, output: Tensor)],
        _ products: BatchProducts, _ layer: Int
    ) throws {
        try products.multiply(input, parts.map { ($0.to.weight, $0.output) }, layer: layer)
        for (projection, output) in parts {
            guard let bias = projection.bias else { continue }
            add(bias: bias, into: output, pool: context.pool)
        }
    }

    /// Norms and rotates the heads of every row, in place.
    private func turn(_ x: Tensor, heads: Int, norm: Tensor?, positions: [Int32]) {
        let slices = RotarySlices(first: 0, stride: size, count: heads)
        let epsilon = shape.normEpsilon
        if let norm, shape.queryKeyNorm == .head {
            rmsNorm(x, slices: slices, weight: norm, epsilon: epsilon, pool: context.pool)
        } else if let norm {
            rmsNorm(x, weight: norm, epsilon: epsilon, into: x, pool: context.pool)
        }
        rope(
            x, slices: slices, positions: positions, cosines: context.rotary.cosines,
            sines: context.rotary.sines, of: shape.rotaryPairs, pool: context.pool)
    }

    /// Stores the new entries, so that a token sees itself.
    private func cache(
        _ keys: Tensor, _ values: Tensor, as entry: GroupedEntry, _ rows: BatchRows,
        _ store: BlockStore
    ) {
        let entries = scratch(.entries, keys.rows, entry.width)
        for (source, column) in [(keys, 0), (values, size)] {
            copySlices(
                source, RotarySlices(first: 0, stride: size, count: keyHeads), into: entries,
                RotarySlices(first: column, stride: 2 * size, count: keyHeads), width: size,
                pool: context.pool)
        }
        for (row, place) in rows.places.enumerated() {
            entry.write(entries.row(row), to: store, block: place.block, slot: place.slot)
        }
    }

    /// Sums the values of a tile of rows from their projected queries: `[tile, heads * size]`.
    private func attend(
        _ queries: Tensor, _ rows: BatchRows, _ tile: Range<Int>, store: BlockStore,
        _ entry: GroupedEntry
    ) -> Tensor {
        let sums = scratch(.sums, queries.rows, shape.headCount * size)
        guard queries.rows > 0 else { return sums }
        turn(
            queries, heads: shape.headCount, norm: weights.norms?.query,
            positions: Array(rows.positions[tile]))
        entry.attend(
            queries, batch: rows.attention.rows(tile), store: store, queryHeads: shape.headCount,
            scale: shape.attentionScale, window: window, sinks: weights.sinks, into: sums,
            compute: context.compute, pool: context.pool)
        return sums
    }

    func work(_ rows: BatchRows, store: BlockStore) -> WorkCount {
        var work = WorkCount()
        let perEntry = 4 * shape.headCount * size
        // Of each sequence, the first entry that some row sees, and where the entries end.
        var (last, begin, end) = (-1, 0, 0)
        let batch = rows.attention
        for (sequence, context) in zip(batch.sequences, batch.contexts).reversed() {
            let first = max(0, Int(context) - (window ?? Int(context)))
            if Int(sequence) != last {
                work.readBytes += (end - begin) * store.entryBytes
                (last, end) = (Int(sequence), Int(context))
            }
            begin = first
            work.attentionOperations += (Int(context) - first) * perEntry
        }
        work.readBytes += (end - begin) * store.entryBytes
        return work
    }
}
