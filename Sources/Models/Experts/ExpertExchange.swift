import Collectives
import Tensors

/// One batch's way to the routed experts of one layer and home again.
///
/// Between `start` and the experts' work, and between that work and `finish`, rows may be
/// travelling: there is time to compute something else.
protocol ExpertExchange: AnyObject {
    /// Starts sending rows to the experts.
    ///
    /// - Parameter rows: `[tokens, hidden]`, unchanged until they are received.
    func start(_ rows: Tensor) throws

    /// Waits for the outputs and adds each token's, weighted, best choice first.
    func finish(addingInto rows: Tensor) throws
}

/// An exchange whose experts read and write rows where they lie: `start`, `compute`, `finish`.
protocol ServingExchange: ExpertExchange {
    /// Waits for the rows of this rank's experts, gives them to `body`, which writes every output,
    /// and starts sending those home, to be weighted there.
    func compute(_ body: (ExpertRows) throws -> Void) throws
}

/// An exchange that a backward goes through after the forward: `start`, `receive`, `send`,
/// `finish`, twice.
///
/// Combine's backward is a dispatch along the same layout, and dispatch's backward a combine
/// without weights; the gradients of the gate weights return beside the rows.
protocol TrainedExchange: ExpertExchange {
    /// Waits for the rows of this rank's experts.
    ///
    /// - Parameter memory: Gives a tensor of at least so many rows for them.
    func receive(into memory: (Int) -> Tensor) throws -> ArrivedRows

    /// Starts sending outputs home, to be weighted there.
    func send(_ outputs: Tensor) throws

    /// Starts sending input gradients home, and the gradient of each row's gate weight.
    func send(gradients: Tensor, dots: [Float]) throws

    /// Waits for the input gradients and adds them; returns `[tokens, topK]` weight gradients.
    func finishGradients(addingInto rows: Tensor) throws -> [Float]
}

/// The rows of this rank's experts where they lie, grouped by local expert.
struct ExpertRows {
    let inputs: ScatteredRows
    let outputs: ScatteredRows
    /// Where each local expert's rows begin; one more than experts.
    let offsets: [Int]
}

/// Rows that arrived for this rank's experts.
struct ArrivedRows {
    /// Grouped by local expert.
    let rows: Tensor
    /// Where each local expert's rows begin; one more than experts.
    let offsets: [Int]
    /// Gate weight of each row, where a backward will need it; else none.
    let weights: [Float]
}
