import Tensors

/// The SwiGLU network of a dense layer, of the shared experts, or of one routed expert.
public final class TrainedMLP {
    let context: TrainingContext
    let gate: Parameter
    let up: Parameter
    let down: Parameter

    init(prefix: String, inner: Int, context: TrainingContext) {
        let hidden = context.configuration.hiddenSize
        self.context = context
        gate = Parameter(name: prefix + "gate_proj.weight", rows: inner, columns: hidden)
        up = Parameter(name: prefix + "up_proj.weight", rows: inner, columns: hidden)
        down = Parameter(name: prefix + "down_proj.weight", rows: hidden, columns: inner)
    }

    var parameters: [Parameter] { [gate, up, down] }

    /// The inputs of the product, kept for the backward.
    struct Saved {
        let x: Tensor
        let gate: Tensor
        let up: Tensor
    }

    func forward(_ x: Tensor) -> (Tensor, Saved) {
        let saved = Saved(x: x, gate: context.linear(x, gate), up: context.linear(x, up))
        let inner = Tensor(rows: x.rows, columns: gate.value.rows)
        if x.rows > 0 { swiglu(saved.gate, saved.up, into: inner, pool: context.pool) }
        return (context.linear(inner, down), saved)
    }

    /// Gives dx, and per row the gradient of its weight; weight gradients wait.
    ///
    /// - Parameters:
    ///   - dy: Gradient of the rows' sum before weighting.
    ///   - weights: How much each row counts in the sum; 1 when nil.
    func backward(
        _ saved: Saved, dy: Tensor, weights: [Float]? = nil, into dx: Tensor,
        accumulate: Bool = false
    ) -> [Float] {
        guard dy.rows > 0 else { return [] }
        let inner = Tensor(rows: dy.rows, columns: gate.value.rows)
        context.inputGradient(down, dy: dy, into: inner)
        let weighted = Tensor(rows: dy.rows, columns: gate.value.rows)
        let dots = swigluBackward(
            gate: saved.gate, up: saved.up, dy: inner, weights: weights, weighted: weighted,
            pool: context.pool)
        context.weightGradient(weighted, down, dy: dy)
        context.linearBackward(
            saved.x, gate, dy: saved.gate, into: dx, accumulate: accumulate)
        context.linearBackward(saved.x, up, dy: saved.up, into: dx, accumulate: true)
        return dots
    }
}
