import Synchronization
import Tensors

/// How far loading is.
public struct LoadProgress: Sendable {
    /// Bytes of the checkpoint packed so far.
    public let loadedBytes: Int
    /// Bytes that this rank will pack.
    public let totalBytes: Int
    /// Time since loading began.
    public let elapsed: Duration

    /// Bytes per second since loading began.
    public var bytesPerSecond: Double {
        let seconds = elapsed / .seconds(1)
        return seconds > 0 ? Double(loadedBytes) / seconds : 0
    }

    /// Time to go at the present rate, nil before the first byte.
    public var remaining: Duration? {
        guard bytesPerSecond > 0 else { return nil }
        return .seconds(Double(totalBytes - loadedBytes) / bytesPerSecond)
    }
}

/// Turns tensors of a checkpoint into packed weights, all threads at once.
///
/// Asking for a weight checks its name, shape and type at once and reads nothing; `load` then
/// packs everything in the order of the files and gives each source's pages back. So a wrong
/// checkpoint fails before the first byte of a matrix is read, and two copies of a weight are
/// resident only while it is packed.
final class WeightLoader {
    /// A weight that `load` will fill.
    final class Slot: @unchecked Sendable {
        // Safe because: one thread of `load` writes it, and readers come after the join.
        fileprivate var stored: Weight?

        /// The packed weight; ask after `load`.
        var weight: Weight {
            guard let stored else { preconditionFailure("a weight is used before it is loaded") }
            return stored
        }
    }

    /// A part of a matrix to pack.
    private struct Part {
        let rows: Range<Int>?
        let transposed: Bool
        let slot: Slot
    }

    /// A matrix and everything that is packed from it.
    private struct Matrix {
        let name: String
        let place: Checkpoint.Located
        let scales: Checkpoint.Located?
        let format: NumberFormat
        var parts: [Part]
    }

    private let checkpoint: Checkpoint
    private var matrices: [Matrix] = []

    init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// Bytes that `load` will read.
    var byteCount: Int { matrices.reduce(0) { $0 + $1.place.entry.bytes.count } }

    // MARK: - Asking

    /// Asks for a whole matrix `[outputs, inputs]`.
    func matrix(_ name: String, outputs: Int, inputs: Int) throws -> Slot {
        try parts(name, outputs: outputs, inputs: inputs, [(nil, false)])[0]
    }

    /// Asks for several parts of one matrix, which is read once.
    func parts(
        _ name: String, outputs: Int, inputs: Int, _ cuts: [(rows: Range<Int>?, transposed: Bool)]
    ) throws -> [Slot] {
        let place = try checkpoint.locate(name)
        try check(place, name: name, shape: [outputs, inputs])
        let format: NumberFormat
        switch place.entry.type {
        case .float32: format = .float32
        case .bfloat16: format = .bfloat16
        case .float8e4m3: format = .float8e4m3
        default:
            throw fault(place, "dtype \(place.entry.type.rawValue) is none of F32, BF16, F8_E4M3")
        }
        var scales: Checkpoint.Located?
        if format == .float8e4m3 {
            scales = try self.scales(of: name, outputs: outputs, inputs: inputs)
        }
        let parts = cuts.map { Part(rows: $0.rows, transposed: $0.transposed, slot: Slot()) }
        matrices.append(
            Matrix(name: name, place: place, scales: scales, format: format, parts: parts))
        return parts.map(\.slot)
    }

    /// Reads a small tensor now, widened to `[1, count]`.
    func vector(_ name: String, count: Int) throws -> Tensor {
        let place = try checkpoint.locate(name)
        try check(place, name: name, shape: [count])
        let format: NumberFormat
        switch place.entry.type {
        case .float32: format = .float32
        case .bfloat16: format = .bfloat16
        default:
            throw fault(place, "dtype \(place.entry.type.rawValue) is neither F32 nor BF16")
        }
        let tensor = Tensor(rows: 1, columns: count)
        checkpoint.withBytes(of: place) { bytes in
            var values = tensor.mutableSpan
            Quantisation.widen(bytes, as: format, into: &values)
        }
        guard tensor.values.allSatisfy(\.isFinite) else {
            throw fault(place, "holds a value that is not finite")
        }
        return tensor
    }

    // MARK: - Loading

    /// Packs everything that was asked for.
    ///
    /// - Parameter progress: Called now and then, from the caller's thread.
    func load(pool: ThreadPool, progress: ((LoadProgress) -> Void)?) throws {
        let queue = matrices.sorted { a, b in
            (a.place.shardIndex, a.place.entry.bytes.lowerBound)
                < (b.place.shardIndex, b.place.entry.bytes.lowerBound)
        }
        let total = byteCount
        let start = ContinuousClock.now
        let next = Atomic(0)
        let loaded = Atomic(0)
        let failure = Mutex<(any Error)?>(nil)
        pool.run { thread, _ in
            var reported = ContinuousClock.now
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard index < queue.count, failure.withLock({ $0 == nil }) else { return }
                do { try pack(queue[index]) } catch { failure.withLock { $0 = $0 ?? error } }
                loaded.wrappingAdd(queue[index].place.entry.bytes.count, ordering: .relaxed)
                let now = ContinuousClock.now
                if thread == 0, let progress, now - reported > .milliseconds(100) {
                    reported = now
                    progress(
                        LoadProgress(
                            loadedBytes: loaded.load(ordering: .relaxed), totalBytes: total,
                            elapsed: now - start))
                }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
        progress?(
            LoadProgress(loadedBytes: total, totalBytes: total, elapsed: .now - start))
        matrices = []
    }

    /// Packs the parts of one matrix and gives its pages back.
    private func pack(_ matrix: Matrix) throws {
        let shape = matrix.place.entry.shape
        try checkpoint.withBytes(of: matrix.place) { bytes in
            for part in matrix.parts {
                func build(_ scales: RawSpan?) throws -> Weight {
                    try Weight(
                        format: matrix.format, outputs: shape[0], inputs: shape[1], bytes: bytes,
                        scales: scales, rows: part.rows, transposed: part.transposed)
                }
                if let scales = matrix.scales {
                    part.slot.stored = try checkpoint.withBytes(of: scales) { try build($0) }
                } else {
                    part.slot.stored = try build(nil)
                }
            }
        }
        checkpoint.release(matrix.place)
    }

    // MARK: - Checking

    /// Finds and checks the block scales of an FP8 matrix.
    private func scales(
        of name: String, outputs: Int, inputs: Int
    ) throws -> Checkpoint.Located {
        let scaleName = name + "_scale_inv"
        let place = try checkpoint.locate(scaleName)
        try check(place, name: scaleName, shape: [(outputs + 127) / 128, (inputs + 127) / 128])
        guard place.entry.type == .float32 else {
            throw fault(place, "dtype \(place.entry.type.rawValue) is not F32")
        }
        let values = Tensor(rows: place.entry.shape[0], columns: place.entry.shape[1])
        checkpoint.withBytes(of: place) { bytes in
            var span = values.mutableSpan
            Quantisation.widen(bytes, as: .float32, into: &span)
        }
        for (index, value) in values.values.enumerated() where !value.isFinite {
            throw fault(
                place,
                "block [\(index / values.columns), \(index % values.columns)] has scale "
                    + "\(value); a scale is finite")
        }
        return place
    }

    private func check(_ place: Checkpoint.Located, name: String, shape: [Int]) throws {
        guard place.entry.shape == shape else {
            throw fault(place, "shape \(place.entry.shape); config.json makes it \(shape)")
        }
    }

    private func fault(_ place: Checkpoint.Located, _ fact: String) -> ModelError {
        .tensor(file: checkpoint.file(of: place), name: place.entry.name, fact: fact)
    }
}
