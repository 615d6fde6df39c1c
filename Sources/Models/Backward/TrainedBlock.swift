import Tensors

/// One transformer block while it trains, cut where its all-to-all travels.
public final class TrainedBlock {
    let context: TrainingContext
    /// The block's number in the model.
    let layer: Int
    let attention: TrainedAttention
    let outputNorm: Parameter
    let dense: TrainedMLPGroup?
    /// The routed layer, nil in a dense block.
    public let experts: TrainedExperts?

    init(layer: Int, context: TrainingContext, exchange: ExpertExchange) {
        let shape = context.configuration
        let prefix = "model.layers.\(layer)."
        self.context = context
        self.layer = layer
        attention = TrainedAttention(layer: layer, context: context)
        outputNorm = Parameter(
            name: prefix + "post_attention_layernorm.weight", rows: 1, columns: shape.hiddenSize,
            isVector: true)
        let hasExperts = shape.hasExperts(layer: layer)
        experts =
            hasExperts ? TrainedExperts(layer: layer, context: context, exchange: exchange) : nil
        dense =
            hasExperts
            ? nil
            : TrainedMLPGroup(
                members: [
                    TrainedMLP(
                        prefix: prefix + "mlp.", inner: shape.intermediateSize, context: context)
                ], context: context)
    }

    /// Every trained value of the block.
    public var parameters: [Parameter] {
        attention.parameters + [outputNorm] + (dense?.parameters ?? [])
            + (experts?.parameters ?? [])
    }

    /// One micro-batch on its way through the block.
    final class Pass {
        fileprivate let block: TrainedBlock
        fileprivate var attention: TrainedAttention.Saved
        /// After attention.
        fileprivate let middle: Tensor
        fileprivate var output: Tensor
        fileprivate var dense: TrainedMLPGroup.Saved?
        fileprivate var experts: TrainedExperts.Pass?
        fileprivate var dy: Tensor?

        fileprivate init(
            block: TrainedBlock, attention: TrainedAttention.Saved, middle: Tensor, output: Tensor
        ) {
            self.block = block
            self.attention = attention
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
    func start(_ x: Tensor, lossShare: Float) throws -> Pass {
        let (middle, saved) = attention.forward(x)
        let normed = context.norm(middle, outputNorm)
        let output = Tensor(unfilledRows: x.rows, columns: x.columns)
        output.copy(from: middle)
        let pass = Pass(block: self, attention: saved, middle: middle, output: output)
        if let dense {
            let (y, saved) = dense.forward(normed)
            pass.dense = saved
            add(y, into: output, pool: context.pool)
        } else if let experts {
            pass.experts = try experts.start(normed, lossShare: lossShare)
        }
        return pass
    }

    private func finishBackward(_ pass: Pass) throws -> Tensor {
        guard let dy = pass.dy.take() else { preconditionFailure("backward without its start") }
        let dNormed: Tensor
        if let dense, let saved = pass.dense {
            dNormed = Tensor(unfilledRows: dy.rows, columns: dy.columns)
            dense.backward(saved, dy: dy, into: dNormed)
        } else if let experts, let saved = pass.experts {
            dNormed = try experts.finishBackward(saved)
        } else {
            preconditionFailure("a block without a network")
        }
        let dx = Tensor(unfilledRows: dy.rows, columns: dy.columns)
        dx.copy(from: dy)
        context.normBackward(pass.middle, outputNorm, dy: dNormed, addingInto: dx)
        attention.backward(pass.attention, dy: dx)
        return dx
    }
}
