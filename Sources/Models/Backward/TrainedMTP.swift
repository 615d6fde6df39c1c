import Tensors

/// The multi-token prediction module while it trains: from the final hidden state of a token and
/// the embedding of the next one, the token after that.
///
/// Source: DeepSeek-V3 report, §2.2; the hidden state is taken after the final norm.
final class TrainedMTP {
    /// The embedding's first use is the input's.
    static let embeddingUse = 1
    let context: TrainingContext
    let embedding: Parameter
    let embeddingNorm: Parameter
    let hiddenNorm: Parameter
    let projection: Parameter
    let block: TrainedBlock
    let head: TrainedHead

    init(
        embedding: Parameter, head: Parameter, context: TrainingContext, exchange: ExpertExchange
    ) {
        let shape = context.configuration
        let layer = shape.layerCount
        let prefix = "model.layers.\(layer)."
        let hidden = shape.hiddenSize
        self.context = context
        self.embedding = embedding
        embeddingNorm = Parameter(
            name: prefix + "enorm.weight", rows: 1, columns: hidden, isVector: true)
        hiddenNorm = Parameter(
            name: prefix + "hnorm.weight", rows: 1, columns: hidden, isVector: true)
        projection = Parameter(
            name: prefix + "eh_proj.weight", rows: hidden, columns: 2 * hidden, staysWide: true)
        block = TrainedBlock(layer: layer, context: context, exchange: exchange)
        self.head = TrainedHead(
            normName: prefix + "shared_head.norm.weight", head: head, context: context)
    }

    var parameters: [Parameter] {
        [embeddingNorm, hiddenNorm, projection] + block.parameters + [head.norm]
    }

    final class Pass {
        fileprivate let hidden: Tensor
        fileprivate let embedded: Tensor
        fileprivate let joined: Tensor
        fileprivate let next: [Int]
        fileprivate let block: TrainedBlock.Pass
        fileprivate var head: TrainedHead.Saved?

        fileprivate init(
            hidden: Tensor, embedded: Tensor, joined: Tensor, next: [Int], block: TrainedBlock.Pass
        ) {
            self.hidden = hidden
            self.embedded = embedded
            self.joined = joined
            self.next = next
            self.block = block
        }
    }

    /// - Parameters:
    ///   - hidden: After the final norm.
    ///   - targets: The main model's: the next token of every row.
    func start(_ hidden: Tensor, targets: [Int32], lossShare: Float) throws -> Pass {
        let next = targets.map { Int(max($0, 0)) }
        let embedded = Tensor(unfilledRows: hidden.rows, columns: hidden.columns)
        gatherRows(embedding.value, rows: next, into: embedded, pool: context.pool)
        let joined = join(
            context.norm(embedded, embeddingNorm), context.norm(hidden, hiddenNorm))
        let x = context.linear(joined, projection)
        return Pass(
            hidden: hidden, embedded: embedded, joined: joined, next: next,
            block: try block.start(x, lossShare: lossShare))
    }

    func compute(_ pass: Pass) throws { try pass.block.compute() }

    func loss(_ pass: Pass, targets: [Int32], scale: Float) throws -> Double {
        let x = try pass.block.finish()
        let (sum, saved) = head.loss(x, targets: after(targets), scale: scale)
        pass.head = saved
        return sum
    }

    /// The token after the next one; none for a sequence's last row.
    private func after(_ targets: [Int32]) -> [Int32] {
        targets.indices.map { row in
            (row + 1) % context.sequenceLength == 0 ? -1 : targets[row + 1]
        }
    }

    func startBackward(_ pass: Pass) throws {
        guard let saved = pass.head.take() else { preconditionFailure("backward before the loss") }
        try pass.block.startBackward(head.normBackward(saved, dNormed: head.headBackward(saved)))
    }

    func computeBackward(_ pass: Pass) throws { try pass.block.computeBackward() }

    /// Adds to dHidden the gradient of the final hidden states.
    func finishBackward(_ pass: Pass, addingInto dHidden: Tensor) throws {
        let dx = try pass.block.finishBackward()
        let dJoined = Tensor(unfilledRows: dx.rows, columns: 2 * dx.columns)
        context.linearBackward(pass.joined, projection, dy: dx, into: dJoined)
        let (dEmbeddedNormed, dHiddenNormed) = split(dJoined)
        context.normBackward(pass.hidden, hiddenNorm, dy: dHiddenNormed, addingInto: dHidden)
        let dEmbedded = Tensor(rows: dx.rows, columns: dx.columns)
        context.normBackward(
            pass.embedded, embeddingNorm, dy: dEmbeddedNormed, addingInto: dEmbedded)
        context.gradients.add { [self] in
            scatterAddRows(
                dEmbedded, rows: pass.next, weights: Array(repeating: 1, count: pass.next.count),
                into: context.gradient(of: embedding, use: Self.embeddingUse))
        }
    }

    private func join(_ left: Tensor, _ right: Tensor) -> Tensor {
        let columns = left.columns
        let joined = Tensor(unfilledRows: left.rows, columns: 2 * columns)
        copyColumns(0 ..< columns, of: left, into: joined, pool: context.pool)
        copyColumns(0 ..< columns, of: right, into: joined, at: columns, pool: context.pool)
        return joined
    }

    private func split(_ joined: Tensor) -> (Tensor, Tensor) {
        let columns = joined.columns / 2
        let left = Tensor(unfilledRows: joined.rows, columns: columns)
        let right = Tensor(unfilledRows: joined.rows, columns: columns)
        copyColumns(0 ..< columns, of: joined, into: left, pool: context.pool)
        copyColumns(columns ..< 2 * columns, of: joined, into: right, pool: context.pool)
        return (left, right)
    }
}
