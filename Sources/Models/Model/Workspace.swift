import Tensors

/// Memory for the activations of one batch, made for the largest so far and reused.
///
/// Attention works on tiles of rows: its absorbed queries are the widest activation by far
/// (73,728 values per token in DeepSeek-V3), and a tile bounds them.
final class Workspace {
    /// Floats that a tile of absorbed queries may take: 32 MiB.
    private static let tileFloats = 8 << 20
    /// Fewer rows would starve the matrix kernels.
    private static let smallestTile = 32

    /// Rows that attention handles at a time.
    let tileRows: Int
    private let configuration: ModelConfiguration
    private var capacity = 0
    private var expertCapacity = 0

    /// `[rows, hidden]`: the residual stream.
    private(set) var stream = Tensor(rows: 0, columns: 1)
    /// `[rows, hidden]`: normed input of a sub-layer.
    private(set) var normed = Tensor(rows: 0, columns: 1)
    /// `[rows, hidden]`: output of a sub-layer.
    private(set) var output = Tensor(rows: 0, columns: 1)
    /// `[rows, latent + rope]`.
    private(set) var latents = Tensor(rows: 0, columns: 1)
    /// `[rows, queryLatent]`, one column where queries are not compressed.
    private(set) var queryLatents = Tensor(rows: 0, columns: 1)
    /// `[rows, experts]`.
    private(set) var gateLogits = Tensor(rows: 0, columns: 1)
    /// `[rows, topK]`.
    private(set) var gateWeights = Tensor(rows: 0, columns: 1)
    /// `[tile, heads * (nope + rope)]`.
    private(set) var queries = Tensor(rows: 0, columns: 1)
    /// `[tile, heads * (latent + rope)]`.
    private(set) var absorbed = Tensor(rows: 0, columns: 1)
    /// `[tile, heads * latent]`.
    private(set) var context = Tensor(rows: 0, columns: 1)
    /// `[tile, heads * value]`.
    private(set) var values = Tensor(rows: 0, columns: 1)
    /// `[received rows, hidden]`: inputs of this rank's experts.
    private(set) var expertInputs = Tensor(rows: 0, columns: 1)
    /// `[received rows, hidden]`: their outputs.
    private(set) var expertOutputs = Tensor(rows: 0, columns: 1)

    init(_ configuration: ModelConfiguration) {
        self.configuration = configuration
        let width = configuration.headCount * configuration.cacheWidth
        tileRows = max(Self.smallestTile, Self.tileFloats / width)
    }

    /// Bytes of the largest tensor here.
    var largestByteCount: Int {
        let all = [
            stream, normed, output, latents, queryLatents, gateLogits, gateWeights, queries,
            absorbed, context, values, expertInputs, expertOutputs,
        ]
        return (all.map(\.count).max() ?? 0) * MemoryLayout<Float>.stride
    }

    /// Makes room for a batch of this many rows.
    func reserve(rows: Int) {
        guard rows > capacity else { return }
        capacity = rows
        let tile = min(rows, tileRows)
        let heads = configuration.headCount
        stream = Tensor(rows: rows, columns: configuration.hiddenSize)
        normed = Tensor(rows: rows, columns: configuration.hiddenSize)
        output = Tensor(rows: rows, columns: configuration.hiddenSize)
        latents = Tensor(rows: rows, columns: configuration.cacheWidth)
        queryLatents = Tensor(rows: rows, columns: configuration.queryLatentSize ?? 1)
        gateLogits = Tensor(rows: rows, columns: configuration.routedExpertCount)
        gateWeights = Tensor(rows: rows, columns: configuration.activeExpertCount)
        queries = Tensor(rows: tile, columns: heads * configuration.queryHeadSize)
        absorbed = Tensor(rows: tile, columns: heads * configuration.cacheWidth)
        context = Tensor(rows: tile, columns: heads * configuration.latentSize)
        values = Tensor(rows: tile, columns: heads * configuration.valueHeadSize)
    }

    /// Makes room for this many rows at this rank's experts.
    func reserveExperts(rows: Int) {
        guard rows > expertCapacity else { return }
        expertCapacity = rows
        expertInputs = Tensor(rows: rows, columns: configuration.hiddenSize)
        expertOutputs = Tensor(rows: rows, columns: configuration.hiddenSize)
    }
}
