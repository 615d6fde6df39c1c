import Collectives
import Tensors
import Topology

/// The mixture of experts of a layer while it trains, in the parts between which its all-to-all
/// travels.
public final class TrainedExperts {
    let context: TrainingContext
    /// The gate, whose bias the trainer moves.
    public let gate: TrainedGate
    let exchange: ExpertExchange
    let experts: TrainedMLPGroup
    let shared: TrainedMLPGroup?

    private let layer: Int

    init(layer: Int, context: TrainingContext, exchange: ExpertExchange) {
        self.layer = layer
        let shape = context.configuration
        let prefix = "model.layers.\(layer).mlp."
        self.context = context
        self.exchange = exchange
        gate = TrainedGate(layer: layer, context: context)
        func group(_ names: [String], inner: Int) -> TrainedMLPGroup {
            TrainedMLPGroup(
                members: names.map {
                    TrainedMLP(prefix: prefix + $0 + ".", inner: inner, context: context)
                }, context: context)
        }
        experts = group(
            exchange.experts(layer: layer, of: shape.routedExpertCount)
                .map { "experts.\($0.rawValue)" },
            inner: shape.expertIntermediateSize)
        shared =
            shape.sharedExpertCount == 0
            ? nil : group(["shared_experts"], inner: shape.sharedIntermediateSize)
    }

    var parameters: [Parameter] {
        [gate.weight] + (shared?.parameters ?? []) + experts.parameters
    }

    /// One micro-batch on its way through the layer, forward and then backward.
    final class Pass {
        fileprivate let layer: TrainedExperts
        fileprivate let exchange: any ExchangePass
        fileprivate let gate: TrainedGate.Saved
        fileprivate var shared: TrainedMLPGroup.Saved?
        fileprivate var saved: TrainedMLPGroup.Saved?
        fileprivate var weights: [Float] = []
        fileprivate var output: Tensor?
        fileprivate var dx: Tensor?

        fileprivate init(
            layer: TrainedExperts, exchange: any ExchangePass, gate: TrainedGate.Saved
        ) {
            self.layer = layer
            self.exchange = exchange
            self.gate = gate
        }
    }

    /// Chooses experts and starts the dispatch; meanwhile runs the shared experts.
    ///
    /// - Parameter lossShare: What part of the step's loss the balance loss of one sequence is.
    func start(_ x: Tensor, lossShare: Float) throws -> Pass {
        let (routing, saved) = try gate.forward(x, lossShare: lossShare)
        let pass = Pass(
            layer: self,
            exchange: try exchange.pass(
                routing, layer: layer, expertCount: context.configuration.routedExpertCount,
                pool: context.pool),
            gate: saved)
        try pass.exchange.start(x)
        if let shared {
            let (y, saved) = shared.forward(x)
            pass.shared = saved
            pass.output = y
        } else {
            pass.output = Tensor(rows: x.rows, columns: x.columns)
        }
        return pass
    }

    /// Waits for the tokens, runs this rank's experts, starts the combine.
    func compute(_ pass: Pass) throws {
        let arrived = try pass.exchange.receive()
        pass.weights = arrived.weights
        let (outputs, saved) = experts.forward(arrived.rows, offsets: arrived.offsets)
        pass.saved = saved
        try pass.exchange.send(outputs)
    }

    /// Waits for the outputs and adds shared and routed ones to `y`.
    func finish(_ pass: Pass, addingInto y: Tensor) throws {
        guard let output = pass.output.take() else { preconditionFailure("finished twice") }
        try pass.exchange.finish(addingInto: output)
        add(output, into: y, pool: context.pool)
    }

    /// Starts the dispatch of the output's gradient; meanwhile the shared experts' backward.
    ///
    /// - Parameter dy: Not changed later: weight gradients that wait read it.
    func startBackward(_ pass: Pass, dy: Tensor) throws {
        try pass.exchange.start(dy)
        if let shared, let saved = pass.shared {
            let dx = Tensor(unfilledRows: dy.rows, columns: dy.columns)
            shared.backward(saved, dy: dy, into: dx)
            pass.dx = dx
        } else {
            pass.dx = Tensor(rows: dy.rows, columns: dy.columns)
        }
    }

    /// Waits for the gradients, runs the experts' backward for input, starts the way home.
    func computeBackward(_ pass: Pass) throws {
        let arrived = try pass.exchange.receive()
        guard let saved = pass.saved.take() else { preconditionFailure("backward twice") }
        let gradients = Tensor(unfilledRows: arrived.rows.rows, columns: arrived.rows.columns)
        let dots = experts.backward(
            saved, dy: arrived.rows, weights: pass.weights, into: gradients)
        try pass.exchange.send(gradients: gradients, dots: dots)
    }

    /// Waits for the input gradients and returns the gradient of the layer's input.
    func finishBackward(_ pass: Pass) throws -> Tensor {
        guard let dx = pass.dx.take() else { preconditionFailure("finished twice") }
        let dWeights = try pass.exchange.finishGradients(addingInto: dx)
        gate.backward(pass.gate, dWeights: dWeights, addingInto: dx)
        return dx
    }
}
