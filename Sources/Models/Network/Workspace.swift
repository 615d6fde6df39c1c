import Tensors

/// Memory for the activations of one batch, made for the largest so far and reused.
final class Workspace {
    private let configuration: ModelConfiguration
    private var capacity = 0

    /// `[rows, hidden]`: the residual stream.
    private(set) var stream = Tensor(rows: 0, columns: 1)
    /// `[rows, hidden]`: normed input of a sub-layer.
    private(set) var normed = Tensor(rows: 0, columns: 1)
    /// `[rows, hidden]`: output of a sub-layer.
    private(set) var output = Tensor(rows: 0, columns: 1)
    /// `[rows, experts]`.
    private(set) var gateLogits = Tensor(rows: 0, columns: 1)
    /// `[rows, topK]`.
    private(set) var gateWeights = Tensor(rows: 0, columns: 1)
    /// `[rows * topK, hidden]`: outputs of the experts, where all experts are on this rank.
    private var expertOutputs: EncodedRows

    /// - Parameter codec: How outputs of experts go home.
    init(_ configuration: ModelConfiguration, _ codec: RowCodec) {
        self.configuration = configuration
        expertOutputs = EncodedRows(codec, rows: 0, columns: configuration.hiddenSize)
    }

    /// Bytes of the largest tensor here.
    var largestByteCount: Int {
        let floats = [stream, normed, output, gateLogits, gateWeights].map(\.count).max() ?? 0
        return max(
            floats * MemoryLayout<Float>.stride, expertOutputs.rows * expertOutputs.rowStride)
    }

    /// Makes room for a batch of this many rows.
    func reserve(rows: Int) {
        guard rows > capacity else { return }
        capacity = rows
        stream = Tensor(rows: rows, columns: configuration.hiddenSize)
        normed = Tensor(rows: rows, columns: configuration.hiddenSize)
        output = Tensor(rows: rows, columns: configuration.hiddenSize)
        gateLogits = Tensor(rows: rows, columns: configuration.routedExpertCount)
        gateWeights = Tensor(rows: rows, columns: configuration.activeExpertCount)
    }

    /// Room for this many outputs of experts.
    func expertOutputs(rows: Int) -> EncodedRows {
        if rows > expertOutputs.rows {
            expertOutputs = EncodedRows(
                expertOutputs.codec, rows: rows, columns: expertOutputs.columns)
        }
        return expertOutputs
    }
}
