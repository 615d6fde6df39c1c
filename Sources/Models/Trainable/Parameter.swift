public import Tensors

/// A trained matrix or vector: its Float32 master value and its gradient.
public final class Parameter {
    /// As a published checkpoint names it.
    public let name: String
    /// `[outputs, inputs]`, or `[1, columns]` for a vector.
    public let value: Tensor
    /// Summed over the micro-batches of a step, shaped as `value`; until `addParts`, the first of
    /// `parts`.
    public let gradient: Tensor
    /// What is summed apart until the end of a step, in the order in which it is added then.
    ///
    /// A sum in parts has the same bits wherever the parts were made. One part, 0, to begin with.
    public var parts: [GradientPart] = [GradientPart()] {
        didSet { others = [:] }
    }
    private var others: [GradientPart: Tensor] = [:]
    /// Whether it is a vector: a norm's weight, which weight decay leaves alone.
    public let isVector: Bool
    /// Whether its products stay in bf16 where the others are in FP8: the head's and the MTP
    /// projection's (§3.3.1).
    package let staysWide: Bool

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

    /// Begins as zeros, for a tensor of a network.
    convenience init(_ tensor: NetworkTensor) {
        let isVector = tensor.shape.count == 1
        self.init(
            name: tensor.name, rows: isVector ? 1 : tensor.shape[0],
            columns: tensor.shape[tensor.shape.count - 1], isVector: isVector,
            staysWide: tensor.role == .wide)
    }
}

/// A part of a step's gradient that has one place in the order of its sum.
public struct GradientPart: Hashable, Comparable, Codable, Sendable {
    /// Which use of the value, in the order of the network: the embedding's second is the MTP
    /// module's.
    public var use: Int
    /// Which of the step's micro-batches.
    public var slice: Int

    /// The first use in the first slice.
    public init(use: Int = 0, slice: Int = 0) {
        self.use = use
        self.slice = slice
    }

    /// Use by use, each slice by slice.
    public static func < (a: GradientPart, b: GradientPart) -> Bool {
        (a.use, a.slice) < (b.use, b.slice)
    }
}

extension Parameter {
    /// Where a part is summed: in `gradient` if it is the first or not kept apart.
    public func gradient(of part: GradientPart) -> Tensor {
        guard part != parts[0], parts.contains(part) else { return gradient }
        if let other = others[part] { return other }
        let other = Tensor(rows: value.rows, columns: value.columns)
        others[part] = other
        return other
    }

    /// Adds all parts into `gradient`, in their order.
    public func addParts(pool: ThreadPool) {
        for part in parts.dropFirst() { add(gradient(of: part), into: gradient, pool: pool) }
    }

    /// Sets all parts to zero.
    public func clearGradient() {
        gradient.fill(0)
        for other in others.values { other.fill(0) }
    }
}

/// Weight gradients that wait for their turn.
///
/// A backward for input leaves here what its weight gradients need. The schedule takes it away and
/// runs it later (DualPipe, ZB1P), or runs it at once (a full backward).
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
