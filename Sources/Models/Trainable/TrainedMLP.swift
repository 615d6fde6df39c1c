import Tensors

/// The SwiGLU network of a dense layer, of the shared experts, or of one routed expert.
package final class TrainedMLP {
    let gate: Parameter
    let up: Parameter
    let down: Parameter

    init(_ tensors: FeedForwardTensors) {
        gate = Parameter(tensors.gate)
        up = Parameter(tensors.up)
        down = Parameter(tensors.down)
    }

    var parameters: [Parameter] { [gate, up, down] }
}

/// Networks of one shape side by side, each with rows of its own: the experts of a rank, or one
/// network with all rows. A product is made for all of them at once.
struct TrainedMLPGroup {
    let members: [TrainedMLP]
    let context: TrainingContext

    var parameters: [Parameter] { members.flatMap(\.parameters) }

    private var inner: Int { members[0].gate.value.rows }

    /// The inputs of the product, kept for the backward.
    struct Saved {
        let x: Tensor
        let gate: Tensor
        let up: Tensor
        let offsets: [Int]
    }

    /// - Parameters:
    ///   - x: `[rows, hidden]`, grouped by member.
    ///   - offsets: Where each member's rows begin; one more than members.
    func forward(_ x: Tensor, offsets: [Int]) -> (Tensor, Saved) {
        let projected = context.linear(
            x, offsets: offsets, [members.map(\.gate), members.map(\.up)])
        let saved = Saved(x: x, gate: projected[0], up: projected[1], offsets: offsets)
        let hidden = Tensor(unfilledRows: x.rows, columns: inner)
        swiglu(saved.gate, saved.up, into: hidden, pool: context.pool)
        return (context.linear(hidden, offsets: offsets, [members.map(\.down)])[0], saved)
    }

    /// The forward of one member with all rows.
    func forward(_ x: Tensor) -> (Tensor, Saved) { forward(x, offsets: [0, x.rows]) }

    /// Gives dx, and per row the gradient of its weight; weight gradients wait.
    ///
    /// - Parameters:
    ///   - dy: Gradient of the rows' sum before weighting.
    ///   - weights: How much each row counts in the sum; 1 when nil.
    @discardableResult
    func backward(_ saved: Saved, dy: Tensor, weights: [Float]? = nil, into dx: Tensor) -> [Float] {
        guard dy.rows > 0 else { return [] }
        let offsets = saved.offsets
        let hidden = Tensor(unfilledRows: dy.rows, columns: inner)
        context.inputGradient(dy, offsets: offsets, members.map(\.down), into: hidden)
        let weighted = Tensor(unfilledRows: dy.rows, columns: inner)
        let dots = swigluBackward(
            gate: saved.gate, up: saved.up, dy: hidden, weights: weights, weighted: weighted,
            pool: context.pool)
        // Apart, so that a rank that waits for an exchange can do a third of them meanwhile.
        for (x, weights, dy) in [
            (weighted, members.map(\.down), dy), (saved.x, members.map(\.gate), saved.gate),
            (saved.x, members.map(\.up), saved.up),
        ] {
            context.weightGradients(offsets: offsets, [(x, weights, dy)])
        }
        context.inputGradient(saved.gate, offsets: offsets, members.map(\.gate), into: dx)
        context.inputGradient(
            saved.up, offsets: offsets, members.map(\.up), into: dx, accumulate: true)
        return dots
    }
}
