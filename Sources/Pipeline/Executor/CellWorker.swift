public import Tensors

/// What a rank computes for a cell: the network, seen by the executor.
///
/// A forward or backward is a list of parts, in order; between one part and the next an all-to-all
/// travels, so two lists taken in turn hide each other's travel.
public protocol CellWorker: AnyObject {
    /// The parts of a forward.
    ///
    /// - Parameter input: The output of the stage before; nil on the first stage.
    func forward(_ cell: Cell, input: Tensor?) throws -> [() throws -> Void]
    /// What the next stage gets, once all parts ran.
    func output(of cell: Cell) -> Tensor
    /// The parts of a backward for input.
    ///
    /// - Parameter gradient: Of the stage's output; nil on the last stage.
    func backward(_ cell: Cell, gradient: Tensor?) throws -> [() throws -> Void]
    /// What the stage before gets, once all parts ran.
    func inputGradient(of cell: Cell) -> Tensor
    /// Takes away the weight gradients that the last parts left.
    func takeWeightGradients(of cell: Cell) -> [() -> Void]
    /// Does, without waiting, what other ranks wait for; called between pieces of computation.
    func advance() throws
    /// Whether the next part of the forward under way would wait for an all-to-all.
    var forwardTravels: Bool { get }
    /// Whether the next part of the backward under way would.
    var backwardTravels: Bool { get }
    /// Forgets a cell that nothing asks about any more; what its weight gradients need lives in
    /// them.
    func release(_ cell: Cell)
    /// The shape of what crosses between stages, `[rows, columns]`.
    var boundary: (rows: Int, columns: Int) { get }
}

extension CellWorker {
    /// Nothing, where no rank waits for another inside a cell.
    public func advance() {}
    /// Never, where nothing travels inside a cell.
    public var forwardTravels: Bool { false }
    /// Never, where nothing travels inside a cell.
    public var backwardTravels: Bool { false }
}

/// How tensors cross between the stages of a pipeline.
public protocol StageLink: AnyObject {
    /// Starts a transfer; returns at once.
    func send(_ tensor: Tensor, _ transfer: Transfer) throws
    /// Waits for a transfer.
    func receive(_ transfer: Transfer, into tensor: Tensor) throws
}
