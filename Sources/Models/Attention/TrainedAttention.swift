import Tensors

/// The gradient of an attention's input, from the input and the gradient of its output.
///
/// Weight gradients wait in the context's queue and read the output's gradient when they run, so
/// the caller leaves it unchanged.
typealias AttentionBackward = (_ input: Tensor, _ outputGradient: Tensor) -> Tensor

/// The attention of one block while it trains.
protocol TrainedAttention: AnyObject {
    /// Every trained value.
    var parameters: [Parameter] { get }

    /// Computes the attention of whole sequences.
    ///
    /// - Parameter input: `[rows, hidden]`, normed; not kept, since it is cheap to norm again.
    /// - Returns: `[rows, hidden]`, and the way back.
    func forward(_ input: Tensor) -> (output: Tensor, backward: AttentionBackward)
}
