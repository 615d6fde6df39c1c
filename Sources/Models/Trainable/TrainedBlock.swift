import Tensors

/// One transformer block while it trains, cut where its all-to-all travels.
public final class TrainedBlock {
    let context: TrainingContext
    /// The block's number in the model.
    let layer: Int
    let inputNorm: Parameter
    let attention: any TrainedAttention
    let feedForwardNorm: Parameter
    let dense: TrainedMLPGroup?
    /// The routed layer, nil in a dense block.
    public let experts: TrainedExperts?

    init(layer: Int, context: TrainingContext, sharing: ExpertSharing) {
        let shape = context.configuration
        let tensors = NetworkTensors(shape)
        self.context = context
        self.layer = layer
        inputNorm = Parameter(tensors.inputNorm(layer: layer))
        attention = shape.architecture.attention.trained(
            context, prefix: tensors.prefix(layer: layer))
        feedForwardNorm = Parameter(tensors.feedForwardNorm(layer: layer))
        if shape.hasExperts(layer: layer) {
            dense = nil
            experts = TrainedExperts(layer: layer, context: context, sharing: sharing)
        } else {
            dense = TrainedMLPGroup(
                members: [TrainedMLP(tensors.dense(layer: layer))], context: context)
            experts = nil
        }
    }

    /// Every trained value of the block.
    public var parameters: [Parameter] {
        [inputNorm] + attention.parameters + [feedForwardNorm] + (dense?.parameters ?? [])
            + (experts?.parameters ?? [])
    }

    /// One micro-batch on its way through the block.
    final class MicroBatch {
        fileprivate let block: TrainedBlock
        fileprivate let input: Tensor
        fileprivate let attentionBackward: AttentionBackward
        /// After attention.
        fileprivate let middle: Tensor
        fileprivate var output: Tensor
        fileprivate var dense: TrainedMLPGroup.Saved?
        fileprivate var experts: TrainedExperts.MicroBatch?
        fileprivate var dy: Tensor?

        fileprivate init(
            block: TrainedBlock, input: Tensor, attentionBackward: @escaping AttentionBackward,
            middle: Tensor, output: Tensor
        ) {
            self.block = block
            self.input = input
            self.attentionBackward = attentionBackward
            self.middle = middle
            self.output = output
        }

        // The three parts of a forward and of a backward. Between them bytes travel.

        func compute() throws {
            if let experts { try block.experts?.compute(experts) }
        }

        func finish() throws -> Tensor {
            if let experts { try block.experts?.finish(experts, addingInto: output) }
            return output
        }

        func startBackward(_ dy: Tensor) throws {
            self.dy = dy
            if let experts { try block.experts?.startBackward(experts, dy: dy) }
        }

        func computeBackward() throws {
            if let experts { try block.experts?.computeBackward(experts) }
        }

        func finishBackward() throws -> Tensor { try block.finishBackward(self) }
    }

    /// Attention, the gate and the start of the dispatch; all of it in a dense block.
    func start(_ x: Tensor, lossShare: Float) throws -> MicroBatch {
        let (middle, backward) = attention.forward(context.norm(x, inputNorm))
        add(x, into: middle, pool: context.pool)
        let normed = context.norm(middle, feedForwardNorm)
        let output = Tensor(unfilledRows: x.rows, columns: x.columns)
        output.copy(from: middle)
        let batch = MicroBatch(
            block: self, input: x, attentionBackward: backward, middle: middle, output: output)
        if let dense {
            let (y, saved) = dense.forward(normed)
            batch.dense = saved
            add(y, into: output, pool: context.pool)
        } else if let experts {
            batch.experts = try experts.start(normed, lossShare: lossShare)
        }
        return batch
    }

    private func finishBackward(_ batch: MicroBatch) throws -> Tensor {
        guard let dy = batch.dy.take() else { preconditionFailure("backward without its start") }
        let dNormed: Tensor
        if let dense, let saved = batch.dense {
            dNormed = Tensor(unfilledRows: dy.rows, columns: dy.columns)
            dense.backward(saved, dy: dy, into: dNormed)
        } else if let experts, let saved = batch.experts {
            dNormed = try experts.finishBackward(saved)
        } else {
            preconditionFailure("a block without a network")
        }
        let dx = Tensor(unfilledRows: dy.rows, columns: dy.columns)
        dx.copy(from: dy)
        context.normBackward(batch.middle, feedForwardNorm, dy: dNormed, addingInto: dx)
        // Weight gradients that wait read the gradient as it is now, while dx goes on changing.
        let middleGradient = Tensor(unfilledRows: dx.rows, columns: dx.columns)
        middleGradient.copy(from: dx)
        let inputGradient = batch.attentionBackward(
            context.norm(batch.input, inputNorm), middleGradient)
        context.normBackward(batch.input, inputNorm, dy: inputGradient, addingInto: dx)
        return dx
    }
}
