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
        embedding: Parameter, head: Parameter, context: TrainingContext, sharing: ExpertSharing
    ) {
        let layer = context.configuration.layerCount
        let tensors = NetworkTensors(context.configuration).mtp(layer: layer)
        self.context = context
        self.embedding = embedding
        embeddingNorm = Parameter(tensors.embeddingNorm)
        hiddenNorm = Parameter(tensors.hiddenNorm)
        projection = Parameter(tensors.projection)
        block = TrainedBlock(layer: layer, context: context, sharing: sharing)
        self.head = TrainedHead(norm: tensors.headNorm, head: head, context: context)
    }

    var parameters: [Parameter] {
        [embeddingNorm, hiddenNorm, projection] + block.parameters + [head.norm]
    }

    /// One micro-batch on its way through the module.
    final class MicroBatch {
        fileprivate let hidden: Tensor
        fileprivate let embedded: Tensor
        fileprivate let joined: Tensor
        fileprivate let next: [Int]
        fileprivate let block: TrainedBlock.MicroBatch
        fileprivate var head: TrainedHead.Saved?

        fileprivate init(
            hidden: Tensor, embedded: Tensor, joined: Tensor, next: [Int],
            block: TrainedBlock.MicroBatch
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
    func start(_ hidden: Tensor, targets: [Int32], lossShare: Float) throws -> MicroBatch {
        let next = targets.map { Int(max($0, 0)) }
        let embedded = Tensor(unfilledRows: hidden.rows, columns: hidden.columns)
        gatherRows(embedding.value, rows: next, into: embedded, pool: context.pool)
        let joined = Tensor.joined(
            context.norm(embedded, embeddingNorm), context.norm(hidden, hiddenNorm),
            pool: context.pool)
        let x = context.linear(joined, projection)
        return MicroBatch(
            hidden: hidden, embedded: embedded, joined: joined, next: next,
            block: try block.start(x, lossShare: lossShare))
    }

    func compute(_ batch: MicroBatch) throws { try batch.block.compute() }

    func loss(_ batch: MicroBatch, targets: [Int32], scale: Float) throws -> Double {
        let x = try batch.block.finish()
        let (sum, saved) = head.loss(x, targets: after(targets), scale: scale)
        batch.head = saved
        return sum
    }

    /// The token after the next one; none for a sequence's last row.
    private func after(_ targets: [Int32]) -> [Int32] {
        targets.indices.map { row in
            (row + 1) % context.sequenceLength == 0 ? -1 : targets[row + 1]
        }
    }

    func startBackward(_ batch: MicroBatch) throws {
        guard let saved = batch.head.take() else { preconditionFailure("backward before the loss") }
        try batch.block.startBackward(head.normBackward(saved, dNormed: head.headBackward(saved)))
    }

    func computeBackward(_ batch: MicroBatch) throws { try batch.block.computeBackward() }

    /// Adds to dHidden the gradient of the final hidden states.
    func finishBackward(_ batch: MicroBatch, addingInto dHidden: Tensor) throws {
        let dx = try batch.block.finishBackward()
        let dJoined = Tensor(unfilledRows: dx.rows, columns: 2 * dx.columns)
        context.linearBackward(batch.joined, projection, dy: dx, into: dJoined)
        let (dEmbeddedNormed, dHiddenNormed) = split(dJoined)
        context.normBackward(batch.hidden, hiddenNorm, dy: dHiddenNormed, addingInto: dHidden)
        let dEmbedded = Tensor(rows: dx.rows, columns: dx.columns)
        context.normBackward(
            batch.embedded, embeddingNorm, dy: dEmbeddedNormed, addingInto: dEmbedded)
        context.gradients.add { [self] in
            scatterAddRows(
                dEmbedded, rows: batch.next, weights: Array(repeating: 1, count: batch.next.count),
                into: context.gradient(of: embedding, use: Self.embeddingUse))
        }
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
