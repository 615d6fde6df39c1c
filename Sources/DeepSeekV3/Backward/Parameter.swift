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
    /// Whether its products stay in bf16 where the others are in FP8: the head's and the MTP
    /// projection's (§3.3.1).
    public let staysWide: Bool

    /// Begins as zeros.
    public init(
        name: String, rows: Int, columns: Int, isVector: Bool = false, staysWide: Bool = false
    ) {
        self.name = name
        self.isVector = isVector
        self.staysWide = staysWide
        value = Tensor(rows: rows, columns: columns)
        gradient = Tensor(rows: rows, columns: columns)
    }
}

/// Weight gradients that wait for their turn.
///
/// A backward for input leaves here what its weight gradients need. Whoever schedules takes it away
/// and runs it later (DualPipe, ZB1P), or runs it at once (a full backward).
public final class GradientQueue {
    private var works: [() -> Void] = []

    /// Begins empty.
    public init() {}

    /// Leaves one product for later.
    public func add(_ work: @escaping () -> Void) { works.append(work) }

    /// Hands over everything that was left since the last call.
    public func take() -> [() -> Void] {
        defer { works = [] }
        return works
    }

    /// Makes everything that was left, now.
    public func run() { for work in take() { work() } }
}
