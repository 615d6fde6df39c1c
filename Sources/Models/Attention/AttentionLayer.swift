import Tensors

/// The attention of one block: its weights, and how rows attend over the block's cache.
protocol AttentionLayer {
    /// Bytes that a token takes in the cache of one layer.
    static func entryBytes(of shape: ModelConfiguration, format: EntryFormat) -> Int

    /// The size of its matrices.
    var weightCount: WeightCount { get }

    /// Values of the widest row, and of the widest results, of a product that ranks may share.
    static func sharedWidths(of shape: ModelConfiguration) -> (inputs: Int, outputs: Int)

    /// Computes the attention of a batch's rows and caches their entries.
    ///
    /// - Parameters:
    ///   - input: `[rows, hidden]`, normed; no rows where this rank helps another.
    ///   - block: The number of the block, and its entries; a row sees those of its sequence and
    ///     its own.
    ///   - products: How its matrices are multiplied.
    ///   - output: `[rows, hidden]`.
    func run(
        _ input: Tensor, _ rows: BatchRows, block: (layer: Int, store: BlockStore),
        products: BatchProducts, into output: Tensor
    ) throws

    /// What `run` reads from the cache and computes there at least.
    func work(_ rows: BatchRows, store: BlockStore) -> WorkCount
}

/// What the attention layers of a model share.
final class AttentionContext {
    let configuration: ModelConfiguration
    var rotary: RotaryTables
    let compute: Compute
    let pool: ThreadPool
    /// Whether sparse attention reads all entries.
    var isDense = false
    /// Activations of one call, none of which is needed after it.
    let scratch = ScratchRows()

    init(
        _ configuration: ModelConfiguration, positions: Int, compute: Compute, pool: ThreadPool
    ) {
        self.configuration = configuration
        self.compute = compute
        self.pool = pool
        rotary = RotaryTables(configuration, positions: positions)
    }
}

/// Memory for activations, made for the largest batch so far and used again.
final class ScratchRows {
    private var tensors: [Tensor] = []

    /// Bytes of the largest tensor here.
    var largestByteCount: Int {
        (tensors.map(\.count).max() ?? 0) * MemoryLayout<Float>.stride
    }

    /// `[rows, columns]`, whose values are those of an earlier use.
    ///
    /// - Parameter index: Which of the tensors of a kind of attention; always of one width.
    func rows(_ index: Int, _ rows: Int, columns: Int) -> Tensor {
        while tensors.count <= index { tensors.append(Tensor(rows: 0, columns: 1)) }
        if tensors[index].rows < rows || tensors[index].columns != columns {
            tensors[index] = Tensor(rows: rows, columns: columns)
        }
        return tensors[index].view(rows: 0 ..< rows)
    }
}
