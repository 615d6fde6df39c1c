import Tensors

/// What the hardware had to do at least: the numerators of bandwidth and rate in `bench model`.
public struct WorkCount: Sendable, Equatable {
    /// Bytes of weights and cache entries that had to be read, each once per batch.
    public var readBytes = 0
    /// Floating-point operations of the matrix products; a multiply-add counts two.
    public var matrixOperations = 0
    /// Floating-point operations of scores and context sums.
    public var attentionOperations = 0

    /// Counts nothing.
    public init() {}

    /// What was done since an earlier count.
    public static func - (a: WorkCount, b: WorkCount) -> WorkCount {
        var difference = WorkCount()
        difference.readBytes = a.readBytes - b.readBytes
        difference.matrixOperations = a.matrixOperations - b.matrixOperations
        difference.attentionOperations = a.attentionOperations - b.attentionOperations
        return difference
    }

    /// Counts matrices that `rows` rows went through.
    mutating func add(_ weights: WeightCount, rows: Int) {
        guard rows > 0 else { return }
        readBytes += weights.bytes
        matrixOperations += 2 * weights.parameters * rows
    }

    /// Counts what was done beside.
    mutating func add(_ other: WorkCount) {
        readBytes += other.readBytes
        matrixOperations += other.matrixOperations
        attentionOperations += other.attentionOperations
    }
}

/// The size of some matrices.
struct WeightCount {
    var bytes = 0
    var parameters = 0

    init(_ weights: [Weight]) {
        for weight in weights {
            bytes += weight.byteCount
            parameters += weight.outputs * weight.inputs
        }
    }

    init(_ expert: ExpertWeights) { self.init([expert.gate, expert.up, expert.down]) }

    mutating func add(_ other: WeightCount) {
        bytes += other.bytes
        parameters += other.parameters
    }
}

extension LayerWeights {
    /// The size of all matrices of the block that this rank holds.
    var count: WeightCount {
        var count = attention.weightCount
        switch feedForward {
        case .dense(let network): count.add(WeightCount(network))
        case .experts(let experts):
            count.add(WeightCount([experts.gate]))
            for expert in experts.routed { count.add(WeightCount(expert)) }
            if let shared = experts.shared { count.add(WeightCount(shared)) }
        }
        return count
    }
}
