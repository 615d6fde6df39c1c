import Tensors

/// What a step's losses were, summed over tokens.
public struct LossSums: Sendable {
    /// Cross-entropy of the next token.
    public var main = 0.0
    /// Cross-entropy of the token after it, by the MTP module.
    public var mtp = 0.0

    /// Begins with nothing.
    public init() {}
}

/// How the losses of one token enter the loss of a step.
public struct LossScale: Sendable {
    /// Of the next token: one over the step's tokens.
    public var main: Float
    /// Of the MTP token: lambda over the step's MTP tokens.
    public var mtp: Float
    /// Of a sequence's balance loss: one over the step's sequences.
    public var balance: Float

    /// States the shares.
    public init(main: Float, mtp: Float, balance: Float) {
        self.main = main
        self.mtp = mtp
        self.balance = balance
    }
}

/// Final norm, vocabulary head and loss.
final class TrainedHead {
    let context: TrainingContext
    let norm: Parameter
    let head: Parameter

    init(norm: NetworkTensor, head: Parameter, context: TrainingContext) {
        self.context = context
        self.norm = Parameter(norm)
        self.head = head
    }

    struct Saved {
        let x: Tensor
        let normed: Tensor
        let dLogits: Tensor
    }

    /// Rows of logits made at a time, so that the largest tensor of a step stays small.
    ///
    /// The gradient of the logits is needed once for input and once for weight: it is kept.
    func loss(_ x: Tensor, targets: [Int32], scale: Float) -> (sum: Double, saved: Saved) {
        let normed = context.norm(x, norm)
        let logits = context.linear(normed, head, isExact: context.precision == .float32)
        let losses = crossEntropy(logits, targets: targets, scale: scale, pool: context.pool)
        let saved = Saved(x: x, normed: normed, dLogits: logits)
        return (losses.reduce(0.0) { $0 + Double($1) }, saved)
    }

    /// The gradient of the normed rows; the head's own waits.
    func headBackward(_ saved: Saved) -> Tensor {
        let dNormed = Tensor(unfilledRows: saved.x.rows, columns: saved.x.columns)
        context.linearBackward(saved.normed, head, dy: saved.dLogits, into: dNormed)
        return dNormed
    }

    func normBackward(_ saved: Saved, dNormed: Tensor) -> Tensor {
        let dx = Tensor(rows: saved.x.rows, columns: saved.x.columns)
        context.normBackward(saved.x, norm, dy: dNormed, addingInto: dx)
        return dx
    }
}
