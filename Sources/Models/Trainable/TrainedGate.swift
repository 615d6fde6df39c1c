import Collectives
public import Tensors

/// The gate while it trains: which experts, how much each counts, and how both move its weight.
///
/// The bias of the auxiliary-loss-free balance moves between steps, not by gradient.
///
/// Source: DeepSeek-V3 report, §2.1.2, equations 13 to 20.
public final class TrainedGate {
    let context: TrainingContext
    /// `[experts, hidden]`.
    public let weight: Parameter
    /// `[1, experts]`, added for the choice alone.
    public let bias: Tensor?
    /// Which block's.
    public let layer: Int
    /// As checkpoints name the bias; nil without one.
    public let biasName: String?
    /// Tokens that chose each expert since the last reset: what moves the bias.
    public private(set) var load: [Int]
    /// The balance losses of the micro-batches since the last reset.
    package private(set) var balanceLoss = 0.0

    init(layer: Int, context: TrainingContext) {
        let tensors = NetworkTensors(context.configuration)
        self.context = context
        self.layer = layer
        weight = Parameter(tensors.gate(layer: layer))
        let biasTensor = tensors.gateBias(layer: layer)
        biasName = biasTensor?.name
        bias = biasTensor.map { Tensor(rows: 1, columns: $0.elementCount) }
        load = Array(repeating: 0, count: context.configuration.routedExpertCount)
    }

    /// Begins the count of a new step.
    public func resetStatistics() {
        for expert in load.indices { load[expert] = 0 }
        balanceLoss = 0
    }

    /// Raises the bias of experts with less than the mean load, lowers that of the others.
    public func moveBias(loads: [Float], by step: Float) {
        guard let bias else { return }
        let mean = loads.reduce(0, +) / Float(loads.count)
        for (expert, load) in loads.enumerated() where load != mean {
            bias[0, expert] += load < mean ? step : -step
        }
    }

    struct Saved {
        let x: Tensor
        /// `[tokens, experts]`, unbiased.
        let scores: Tensor
        let experts: [Int32]
        let weights: Tensor
        /// Per sequence and expert, the gradient of the balance loss by the mean share.
        let balance: [Float]
    }

    func forward(_ x: Tensor, lossShare: Float) throws -> (Routing, Saved) {
        let shape = context.configuration
        let topK = shape.activeExpertCount
        let scores = context.linear(x, weight, isExact: true)
        var experts = [Int32](repeating: -1, count: x.rows * topK)
        let weights = Tensor(rows: x.rows, columns: topK)
        gate(
            scores, rule: shape.gateRule, bias: bias, experts: &experts, into: weights,
            pool: context.pool)
        if context.routesEvenly { routeEvenly(&experts, weights) }
        for row in 0 ..< x.rows where !(0 ..< topK).allSatisfy({ weights[row, $0].isFinite }) {
            // Such a row still travels, for nothing: the other ranks wait for it, and the step is
            // given up when its loss is known.
            for choice in 0 ..< topK {
                experts[row * topK + choice] = Int32(choice)
                weights[row, choice] = 0
            }
        }
        for expert in experts { load[Int(expert)] += 1 }
        let balance = balance(scores, experts, lossShare: lossShare)
        let routing = try Routing(
            tokenCount: x.rows, topK: topK, expertIDs: experts, weights: weights.values)
        return (
            routing,
            Saved(x: x, scores: scores, experts: experts, weights: weights, balance: balance)
        )
    }

    /// Gives the choices of token after token to expert after expert, all with one weight.
    private func routeEvenly(_ experts: inout [Int32], _ weights: Tensor) {
        let (count, topK) = (context.configuration.routedExpertCount, weights.columns)
        for token in 0 ..< weights.rows {
            for choice in 0 ..< topK {
                experts[token * topK + choice] = Int32((token + choice * (count / topK)) % count)
                weights[token, choice] = context.configuration.routedScalingFactor / Float(topK)
            }
        }
    }

    /// Sequence-wise balance loss, equations 17 to 20: alpha times the sum over experts of the
    /// share of choices times the mean share of scores. The choices are those that were made.
    private func balance(_ scores: Tensor, _ experts: [Int32], lossShare: Float) -> [Float] {
        guard context.balanceWeight > 0 else { return [] }
        let shape = context.configuration
        let (count, topK) = (shape.routedExpertCount, shape.activeExpertCount)
        let length = context.sequenceLength
        var slopes: [Float] = []
        for sequence in 0 ..< scores.rows / length {
            var chosen = [Float](repeating: 0, count: count)
            var shares = [Double](repeating: 0, count: count)
            for token in sequence * length ..< (sequence + 1) * length {
                for choice in 0 ..< topK { chosen[Int(experts[token * topK + choice])] += 1 }
                let row = scores.row(token)
                var sum: Float = 0
                for expert in 0 ..< count { sum += row[expert] }
                for expert in 0 ..< count { shares[expert] += Double(row[expert] / sum) }
            }
            let perChoice = Float(count) / Float(topK * length) * context.balanceWeight * lossShare
            for expert in 0 ..< count {
                slopes.append(chosen[expert] * perChoice / Float(length))
                balanceLoss += Double(chosen[expert] * perChoice) * shares[expert] / Double(length)
            }
        }
        return slopes
    }

    /// Adds to dx what reaches the input through weights and balance loss.
    ///
    /// - Parameter dWeights: `[tokens, topK]`, the gradients of the gate weights.
    func backward(_ saved: Saved, dWeights: [Float], addingInto dx: Tensor) {
        let shape = context.configuration
        let dLogits = Tensor(rows: dx.rows, columns: shape.routedExpertCount)
        context.pool.split(dx.rows) { tokens in
            for token in tokens { rowBackward(saved, token, dWeights, into: dLogits) }
        }
        context.linearBackward(
            saved.x, weight, dy: dLogits, into: dx, accumulate: true, isExact: true)
    }

    private func rowBackward(
        _ saved: Saved, _ token: Int, _ dWeights: [Float], into dLogits: Tensor
    ) {
        let shape = context.configuration
        let (count, topK) = (shape.routedExpertCount, shape.activeExpertCount)
        let scaling = shape.gateRule.scaling
        let scores = saved.scores.row(token)
        var gradient = dLogits.mutableRow(token)
        var sum: Float = 1e-20
        var pull: Float = 0
        if shape.normalizesWeights {
            for choice in 0 ..< topK { sum += scores[Int(saved.experts[token * topK + choice])] }
            for choice in 0 ..< topK {
                let expert = Int(saved.experts[token * topK + choice])
                pull += dWeights[token * topK + choice] * scores[expert]
            }
            pull /= sum * sum
        } else {
            sum = 1
        }
        for choice in 0 ..< topK {
            let expert = Int(saved.experts[token * topK + choice])
            let d = dWeights[token * topK + choice] / sum - pull
            gradient[expert] = scaling * d
        }
        if !saved.balance.isEmpty {
            addBalance(saved.balance, token / context.sequenceLength, scores, &gradient)
        }
        if shape.scoring == .sigmoid {
            for expert in 0 ..< count { gradient[expert] *= scores[expert] * (1 - scores[expert]) }
        } else {
            var dot: Float = 0
            for expert in 0 ..< count { dot += gradient[expert] * scores[expert] }
            for expert in 0 ..< count {
                gradient[expert] = scores[expert] * (gradient[expert] - dot)
            }
        }
    }

    /// The gradient of the balance loss by one token's scores.
    private func addBalance(
        _ slopes: [Float], _ sequence: Int, _ scores: Span<Float>,
        _ gradient: inout MutableSpan<Float>
    ) {
        let count = scores.count
        var sum: Float = 0
        var dot: Float = 0
        for expert in 0 ..< count {
            sum += scores[expert]
            dot += slopes[sequence * count + expert] * scores[expert]
        }
        dot /= sum
        for expert in 0 ..< count {
            gradient[expert] += (slopes[sequence * count + expert] - dot) / sum
        }
    }
}
