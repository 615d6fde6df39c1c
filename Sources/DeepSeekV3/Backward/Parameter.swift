public import Tensors

/// A trained matrix or vector: its Float32 master value and its gradient.
public final class Parameter {
    /// As a published checkpoint names it.
    public let name: String
    /// `[outputs, inputs]`, or `[1, columns]` for a vector.
    public let value: Tensor
    /// Summed over the micro-batches of a step, shaped as `value`.
    public let gradient: Tensor
    /// Whether it is a vector: a norm's weight, which weight decay leaves alone.
    public let isVector: Bool

    /// Begins as zeros.
    public init(name: String, rows: Int, columns: Int, isVector: Bool = false) {
        self.name = name
        self.isVector = isVector
        value = Tensor(rows: rows, columns: columns)
        gradient = Tensor(rows: rows, columns: columns)
    }
}

/// Weight gradients that wait for their turn.
///
/// A backward for input leaves here what its weight gradients need; `run` makes the oldest ones. So
/// DualPipe and ZB1P schedule the two halves of a backward apart, and a full backward runs both.
public final class GradientQueue {
    private var waiting: [[() -> Void]] = []
    private var open: [() -> Void] = []

    /// Begins empty.
    public init() {}

    /// Leaves one product for later.
    public func add(_ work: @escaping () -> Void) { open.append(work) }

    /// Ends the backward of one cell: what was added since the last call waits as one entry.
    public func close() {
        waiting.append(open)
        open = []
    }

    /// Makes the weight gradients of the oldest cell that waits.
    public func runOldest() {
        precondition(!waiting.isEmpty, "no weight gradients wait")
        for work in waiting.removeFirst() { work() }
    }

    /// Makes everything added since the last `close` at once.
    public func runOpen() {
        for work in open { work() }
        open = []
    }

    /// Cells whose weight gradients wait.
    public var count: Int { waiting.count }
}
