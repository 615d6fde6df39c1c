import Collectives
import Models
import Tensors

/// Keeps the experts of every layer equally loaded without a loss: each gate's bias moves against
/// the load of its experts.
///
/// Source: DeepSeek-V3 report, §2.1.2, auxiliary-loss-free balance.
struct LoadBalance {
    /// The routed layers of this rank.
    let layers: [TrainedExperts]
    let model: ModelConfiguration
    let optimizer: OptimizerOptions
    /// Tokens of the last step that chose each expert, `[layers, experts]`, over all ranks.
    private(set) var loads: [Float] = []

    init(_ layers: [TrainedExperts], _ options: TrainingOptions) {
        self.layers = layers
        model = options.model
        optimizer = options.optimizer
    }

    /// Forgets what the gates counted.
    func clear() { for layer in layers { layer.gate.resetStatistics() } }

    /// Sums the loads of all ranks and moves the biases. Collective.
    ///
    /// - Parameters:
    ///   - step: Counted from 1; biases rest after the last step that the job lets them move in.
    ///   - movesBiases: False where values of the step are not finite: the loads are not the
    ///     gates' then.
    /// - Returns: The worst layer's violation: its most loaded expert over the mean, minus 1.
    mutating func update(step: Int, over reducer: Reducer?, movesBiases: Bool) throws -> Double {
        let layerCount = model.layerCount + model.mtpLayerCount
        let sums = Tensor(rows: layerCount, columns: max(1, model.routedExpertCount))
        for layer in layers {
            for (expert, load) in layer.gate.load.enumerated() {
                sums[layer.gate.layer, expert] += Float(load)
            }
        }
        if let reducer { try reducer.allReduce(sums) }
        loads = sums.values
        if movesBiases, step <= optimizer.biasSteps ?? step { moveBiases(sums) }
        return (0 ..< layerCount).filter { model.hasExperts(layer: $0) }
            .map { violation(row(sums, $0)) }.max() ?? 0
    }

    private func row(_ loads: Tensor, _ layer: Int) -> [Float] {
        (0 ..< model.routedExpertCount).map { loads[layer, $0] }
    }

    private func violation(_ loads: [Float]) -> Double {
        let mean = loads.reduce(0, +) / Float(loads.count)
        guard mean > 0 else { return 0 }
        return max(0, Double((loads.max() ?? mean) / mean) - 1)
    }

    private func moveBiases(_ loads: Tensor) {
        for layer in layers {
            layer.gate.moveBias(loads: row(loads, layer.gate.layer), by: optimizer.biasStep)
        }
    }
}
