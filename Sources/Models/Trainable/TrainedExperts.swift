import Collectives
import Tensors
import Topology

/// The mixture of experts of a layer while it trains, in the parts between which its all-to-all
/// travels.
public final class TrainedExperts {
    let context: TrainingContext
    /// The gate, whose bias the trainer moves.
    public let gate: TrainedGate
    let sharing: ExpertSharing
    let experts: TrainedMLPGroup
    let shared: TrainedMLPGroup?
    private let layer: Int

    init(layer: Int, context: TrainingContext, sharing: ExpertSharing) {
        let tensors = NetworkTensors(context.configuration)
        self.layer = layer
        self.context = context
        self.sharing = sharing
        gate = TrainedGate(layer: layer, context: context)
        experts = TrainedMLPGroup(
            members: sharing.experts(
                layer: layer, of: context.configuration.routedExpertCount
            ).map { TrainedMLP(tensors.routedExpert($0.rawValue, layer: layer)) },
            context: context)
        shared = tensors.sharedExperts(layer: layer).map {
            TrainedMLPGroup(members: [TrainedMLP($0)], context: context)
        }
    }

    var parameters: [Parameter] {
        [gate.weight] + (shared?.parameters ?? []) + experts.parameters
    }

    /// One micro-batch on its way through the layer, forward and then backward.
    final class MicroBatch {
        fileprivate let exchange: any TrainedExchange
        fileprivate let gate: TrainedGate.Saved
        fileprivate var shared: TrainedMLPGroup.Saved?
        fileprivate var saved: TrainedMLPGroup.Saved?
        fileprivate var weights: [Float] = []
        fileprivate var output: Tensor?
        fileprivate var dx: Tensor?

        fileprivate init(exchange: any TrainedExchange, gate: TrainedGate.Saved) {
            self.exchange = exchange
            self.gate = gate
        }
    }

    /// Chooses experts and starts the dispatch; meanwhile runs the shared experts.
    ///
    /// - Parameter lossShare: What part of the step's loss the balance loss of one sequence is.
    func start(_ x: Tensor, lossShare: Float) throws -> MicroBatch {
        let (routing, saved) = try gate.forward(x, lossShare: lossShare)
        let batch = MicroBatch(
            exchange: try sharing.exchange(
                routing, layer: layer, expertCount: context.configuration.routedExpertCount,
                pool: context.pool),
            gate: saved)
        try batch.exchange.start(x)
        if let shared {
            let (y, saved) = shared.forward(x)
            batch.shared = saved
            batch.output = y
        } else {
            batch.output = Tensor(rows: x.rows, columns: x.columns)
        }
        return batch
    }

    /// Waits for the tokens, runs this rank's experts, starts the combine.
    func compute(_ batch: MicroBatch) throws {
        let arrived = try receive(batch)
        batch.weights = arrived.weights
        let (outputs, saved) = experts.forward(arrived.rows, offsets: arrived.offsets)
        batch.saved = saved
        try batch.exchange.send(outputs)
    }

    private func receive(_ batch: MicroBatch) throws -> ArrivedRows {
        try batch.exchange.receive {
            Tensor(unfilledRows: $0, columns: context.configuration.hiddenSize)
        }
    }

    /// Waits for the outputs and adds shared and routed ones to `y`.
    func finish(_ batch: MicroBatch, addingInto y: Tensor) throws {
        guard let output = batch.output.take() else { preconditionFailure("finished twice") }
        try batch.exchange.finish(addingInto: output)
        add(output, into: y, pool: context.pool)
    }

    /// Starts the dispatch of the output's gradient; meanwhile the shared experts' backward.
    ///
    /// - Parameter dy: Not changed later: weight gradients that wait read it.
    func startBackward(_ batch: MicroBatch, dy: Tensor) throws {
        try batch.exchange.start(dy)
        if let shared, let saved = batch.shared {
            let dx = Tensor(unfilledRows: dy.rows, columns: dy.columns)
            shared.backward(saved, dy: dy, into: dx)
            batch.dx = dx
        } else {
            batch.dx = Tensor(rows: dy.rows, columns: dy.columns)
        }
    }

    /// Waits for the gradients, runs the experts' backward for input, starts the way back.
    func computeBackward(_ batch: MicroBatch) throws {
        let arrived = try receive(batch)
        guard let saved = batch.saved.take() else { preconditionFailure("backward twice") }
        let gradients = Tensor(unfilledRows: arrived.rows.rows, columns: arrived.rows.columns)
        let dots = experts.backward(
            saved, dy: arrived.rows, weights: batch.weights, into: gradients)
        try batch.exchange.send(gradients: gradients, dots: dots)
    }

    /// Waits for the input gradients and returns the gradient of the layer's input.
    func finishBackward(_ batch: MicroBatch) throws -> Tensor {
        guard let dx = batch.dx.take() else { preconditionFailure("finished twice") }
        let dWeights = try batch.exchange.finishGradients(addingInto: dx)
        gate.backward(batch.gate, dWeights: dWeights, addingInto: dx)
        return dx
    }
}
