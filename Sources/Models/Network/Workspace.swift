import Tensors

/// Memory for the activations of one batch, made for the largest so far and reused.
final class Workspace {
    private let configuration: ModelConfiguration
    private var capacity = 0
    private var expertCapacity = 0

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
    /// `[received rows, hidden]`: inputs of this rank's experts.
    private(set) var expertInputs = Tensor(rows: 0, columns: 1)
    /// `[received rows, hidden]`: their outputs.
    private(set) var expertOutputs = Tensor(rows: 0, columns: 1)

    init(_ configuration: ModelConfiguration) { self.configuration = configuration }

    /// Bytes of the largest tensor here.
    var largestByteCount: Int {
        let all = [
            stream, normed, output, gateLogits, gateWeights, expertInputs, expertOutputs,
        ]
        return (all.map(\.count).max() ?? 0) * MemoryLayout<Float>.stride
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

    /// Makes room for this many rows at this rank's experts.
    func reserveExperts(rows: Int) {
        guard rows > expertCapacity else { return }
        expertCapacity = rows
        expertInputs = Tensor(rows: rows, columns: configuration.hiddenSize)
        expertOutputs = Tensor(rows: rows, columns: configuration.hiddenSize)
    }
}
