import Synchronization
public import Tensors

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
/// packs everything in the order of the files. So a wrong checkpoint fails before the first byte
/// of a matrix is read, and of what is packed nothing but a few rows is ever resident twice.
public final class WeightLoader {
    /// A weight that `load` will fill.
    public final class Slot {
        fileprivate var stored: Weight?
        /// How the file holds the matrix.
        public let format: NumberFormat

        /// The name of that file.
        public let file: String

        fileprivate init(_ format: NumberFormat, _ file: String) {
            self.format = format
            self.file = file
        }

        /// The packed weight; ask after `load`.
        public var weight: Weight {
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
        let place: Checkpoint.Located
        let outputs: Int
        let inputs: Int
        let format: NumberFormat
        /// Of float8e4m3.
        var scales: [Float] = []
        /// Of int4 and mxfp4.
        var fourBit: FourBitMatrix?
        let parts: [Part]

        var byteCount: Int {
            place.entry.bytes.count + (fourBit?.scales.entry.bytes.count ?? 0)
        }
    }

    /// A piece of a weight: what a thread does at a time.
    private struct Task {
        let place: Checkpoint.Located
        let fourBit: FourBitMatrix?
        let packing: WeightPacking
        let piece: Int
    }

    private let checkpoint: Checkpoint
    private var matrices: [Matrix] = []

    public init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// Bytes that `load` will read.
    public var byteCount: Int { matrices.reduce(0) { $0 + $1.byteCount } }

    // MARK: - Asking

    /// Asks for a whole matrix `[outputs, inputs]`.
    public func matrix(_ name: String, outputs: Int, inputs: Int) throws -> Slot {
        try parts(name, outputs: outputs, inputs: inputs, [(nil, false)])[0]
    }

    /// Asks for several parts of one matrix, which is read once.
    public func parts(
        _ name: String, outputs: Int, inputs: Int, _ cuts: [(rows: Range<Int>?, transposed: Bool)]
    ) throws -> [Slot] {
        func makeParts(_ format: NumberFormat, _ place: Checkpoint.Located) -> [Part] {
            let file = checkpoint.file(of: place)
            return cuts.map {
                Part(rows: $0.rows, transposed: $0.transposed, slot: Slot(format, file))
            }
        }
        if FourBitMatrix.isStored(name, in: checkpoint) {
            let found = try FourBitMatrix(name, outputs: outputs, inputs: inputs, in: checkpoint)
            let parts = makeParts(found.format, found.codes)
            matrices.append(
                Matrix(
                    place: found.codes, outputs: outputs, inputs: inputs, format: found.format,
                    fourBit: found, parts: parts))
            return parts.map(\.slot)
        }
        let place = try checkpoint.locate(name)
        let shape = [outputs, inputs]
        guard let format = WeightTypes.matrix(place.entry.type) else {
            throw fault(place, WeightTypes.fault(place.entry, wanted: shape))
        }
        try check(place, shape: shape)
        let scales =
            format == .float8e4m3 ? try BlockScales(of: place, in: checkpoint).values : []
        let parts = makeParts(format, place)
        matrices.append(
            Matrix(
                place: place, outputs: outputs, inputs: inputs, format: format, scales: scales,
                parts: parts))
        return parts.map(\.slot)
    }

    /// Reads a small tensor now, widened to `[1, count]`.
    public func vector(_ name: String, count: Int) throws -> Tensor {
        let place = try checkpoint.locate(name)
        guard let format = WeightTypes.vector(place.entry.type) else {
            throw fault(
                place, "dtype \(place.entry.type.rawValue) is none of F32, F16, BF16")
        }
        try check(place, shape: [count])
        let values = Quantisation.widened(try checkpoint.readBytes(of: place), as: format)
        guard values.allSatisfy(\.isFinite) else {
            throw fault(place, "holds a value that is not finite")
        }
        return Tensor(rows: 1, columns: count, values: values)
    }

    // MARK: - Loading

    /// Packs everything that was asked for.
    ///
    /// - Parameter progress: Called now and then, from the caller's thread.
    public func load(pool: ThreadPool, progress: ((LoadProgress) -> Void)?) throws {
        let tasks = try makeTasks()
        let total = byteCount
        let start = ContinuousClock.now
        let next = Atomic(0)
        let loaded = Atomic(0)
        let failure = Mutex<(any Error)?>(nil)
        pool.run { thread, _ in
            var reported = ContinuousClock.now
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard index < tasks.count, failure.withLock({ $0 == nil }) else { return }
                let task = tasks[index]
                do throws(PackingError) {
                    try task.packing.pack(task.piece, pool: pool, thread: thread)
                } catch {
                    let fault = fault(task, error)
                    failure.withLock { $0 = $0 ?? fault }
                    return
                }
                loaded.wrappingAdd(
                    task.packing.byteCount / task.packing.pieceCount, ordering: .relaxed)
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

    /// Reserves the memory of every weight and lists the pieces in the order of the files.
    private func makeTasks() throws -> [Task] {
        var tasks: [Task] = []
        let order = matrices.sorted { a, b in
            (a.place.shardIndex, a.place.entry.bytes.lowerBound)
                < (b.place.shardIndex, b.place.entry.bytes.lowerBound)
        }
        for matrix in order {
            for part in matrix.parts {
                let packing = try WeightPacking(
                    checkpoint.shards[matrix.place.shardIndex], bytes: matrix.place.entry.bytes,
                    format: matrix.format, outputs: matrix.outputs, inputs: matrix.inputs,
                    scales: matrix.scales,
                    storedScales: matrix.fourBit.map {
                        StoredScales(
                            checkpoint.shards[$0.scales.shardIndex], bytes: $0.scales.entry.bytes,
                            format: $0.scaleFormat)
                    }, rows: part.rows, transposed: part.transposed)
                part.slot.stored = packing.weight
                tasks += (0 ..< packing.pieceCount).map {
                    Task(
                        place: matrix.place, fourBit: matrix.fourBit, packing: packing, piece: $0)
                }
            }
        }
        return tasks
    }

    // MARK: - Checking

    private func check(_ place: Checkpoint.Located, shape: [Int]) throws {
        guard place.entry.shape == shape else {
            throw fault(place, "shape \(place.entry.shape); config.json makes it \(shape)")
        }
    }

    private func fault(_ task: Task, _ error: PackingError) -> CheckpointError {
        switch error {
        case .file(let error): return fault(task.place, "\(error.call): \(error.reason)")
        case .numbers(let error):
            guard case .scale(let output, let group) = error, let matrix = task.fourBit else {
                return fault(task.place, "\(error)")
            }
            return matrix.scaleFault(output: output, group: group, in: checkpoint)
        }
    }

    private func fault(_ place: Checkpoint.Located, _ fact: String) -> CheckpointError {
        .tensor(file: checkpoint.file(of: place), name: place.entry.name, fact: fact)
    }
}
