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

    /// So far in so much time.
    public init(loadedBytes: Int, totalBytes: Int, elapsed: Duration) {
        self.loadedBytes = loadedBytes
        self.totalBytes = totalBytes
        self.elapsed = elapsed
    }

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

/// Turns tensors of a checkpoint, or random numbers in their place, into packed weights, all
/// threads at once.
///
/// Asking for a weight checks its name, shape and type at once and reads nothing; `load` then
/// packs everything in the order of the files. So a wrong checkpoint fails before the first byte
/// of a matrix is read, and of what is packed nothing but a few rows is ever resident twice.
public final class WeightLoader {
    /// A weight that `load` will fill.
    public final class Slot {
        var stored: Weight?
        /// How the file holds the matrix.
        public let format: NumberFormat

        /// The name of that file.
        public let file: String

        init(_ format: NumberFormat, _ file: String) {
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
    struct Part {
        let rows: Range<Int>?
        let transposed: Bool
        let slot: Slot
    }

    /// Says what is wrong with a scale of an output and a group of inputs.
    private typealias ScaleFault = @Sendable (_ output: Int, _ group: Int) -> CheckpointError

    /// Scales of four bits, which are read with their rows.
    private struct Scales {
        let place: Checkpoint.Located
        /// Counted from the start of the file.
        let bytes: Range<Int>
        let scales: StoredScales
        let fault: ScaleFault

        var byteCount: Int { bytes.count }
    }

    /// A matrix and everything that is packed from it.
    private struct Matrix {
        let place: Checkpoint.Located
        /// Where in its file the matrix lies, with those that it is interleaved with.
        let bytes: Range<Int>
        var interleaving = Interleaving.none
        let outputs: Int
        let inputs: Int
        let format: NumberFormat
        /// Of float8e4m3.
        var scales: [Float] = []
        /// Of int4 and mxfp4.
        var storedScales: Scales?
        let parts: [Part]

        var byteCount: Int {
            (bytes.count + (storedScales?.byteCount ?? 0)) / interleaving.count
        }

        /// Memory that everything packed from it takes.
        var packedByteCount: Int {
            parts.reduce(0) { sum, part in
                sum
                    + WeightPacking.packedByteCount(
                        format: format, outputs: outputs, inputs: inputs,
                        scaleFormat: storedScales?.scales.format ?? .float32, rows: part.rows,
                        transposed: part.transposed)
            }
        }
    }

    /// A piece of a weight: what a thread does at a time.
    private struct Task {
        /// Nil for random numbers.
        var place: Checkpoint.Located?
        var scaleFault: ScaleFault?
        let packing: WeightPacking
        let piece: Int
    }

    private enum Source {
        case folder(Checkpoint)
        case random(RandomWeights)
    }

    private let source: Source
    private var matrices: [Matrix] = []
    private var randomMatrices: [RandomMatrix] = []

    public init(_ checkpoint: Checkpoint) { source = .folder(checkpoint) }

    /// A loader whose weights are drawn where they are packed.
    public init(_ random: RandomWeights) { source = .random(random) }

    /// The folder; only asked for where there is one.
    private var checkpoint: Checkpoint {
        guard case .folder(let checkpoint) = source else {
            preconditionFailure("random weights lie in no folder")
        }
        return checkpoint
    }

    /// Bytes that `load` will read or draw.
    public var byteCount: Int {
        matrices.reduce(0) { $0 + $1.byteCount } + randomMatrices.reduce(0) { $0 + $1.byteCount }
    }

    /// Memory that what was asked of a folder takes once it is packed, padding and scales included.
    public var packedByteCount: Int {
        precondition(randomMatrices.isEmpty, "\(randomMatrices.count) matrices are random")
        return matrices.reduce(0) { $0 + $1.packedByteCount }
    }

    // MARK: - Asking

    /// Asks for a whole matrix `[outputs, inputs]`.
    public func matrix(_ name: String, outputs: Int, inputs: Int) throws -> Slot {
        try parts(name, outputs: outputs, inputs: inputs, [(nil, false)])[0]
    }

    /// Asks for several parts of one matrix, which is read once.
    public func parts(
        _ name: String, outputs: Int, inputs: Int, _ cuts: [(rows: Range<Int>?, transposed: Bool)]
    ) throws -> [Slot] {
        if case .random(let random) = source {
            let matrix = random.matrix(name, outputs: outputs, inputs: inputs, cuts)
            randomMatrices.append(matrix)
            return matrix.parts.map(\.slot)
        }
        func makeParts(_ format: NumberFormat, _ place: Checkpoint.Located) -> [Part] {
            let file = checkpoint.file(of: place)
            return cuts.map {
                Part(rows: $0.rows, transposed: $0.transposed, slot: Slot(format, file))
            }
        }
        if FourBitMatrix.isStored(name, in: checkpoint) {
            let found = try FourBitMatrix(name, outputs: outputs, inputs: inputs, in: checkpoint)
            let parts = makeParts(found.format, found.codes)
            let checkpoint = checkpoint
            matrices.append(
                Matrix(
                    place: found.codes, bytes: found.codes.entry.bytes, outputs: outputs,
                    inputs: inputs, format: found.format,
                    storedScales: storedScales(
                        found.scales, found.scales.entry.bytes, found.scaleFormat
                    ) { found.scaleFault(output: $0, group: $1, in: checkpoint) },
                    parts: parts))
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
                place: place, bytes: place.entry.bytes, outputs: outputs, inputs: inputs,
                format: format, scales: scales, parts: parts))
        return parts.map(\.slot)
    }

    private func storedScales(
        _ place: Checkpoint.Located, _ bytes: Range<Int>, _ format: ScaleFormat,
        fault: @escaping ScaleFault
    ) -> Scales {
        let shard = checkpoint.shards[place.shardIndex]
        return Scales(
            place: place, bytes: bytes,
            scales: StoredScales(shard, bytes: bytes, format: format), fault: fault)
    }

    /// Asks for one expert's matrix in a tensor of all experts of a layer. Nothing of the other
    /// experts is read.
    public func matrix(fused name: String, _ place: FusedMatrix.Place) throws -> Slot {
        if case .random = source {
            let own = "\(name).\(place.expert).\(place.interleaving.index)"
            return try matrix(own, outputs: place.outputs, inputs: place.inputs)
        }
        return ask(for: try FusedMatrix(name, place, in: checkpoint))
    }

    private func ask(for found: FusedMatrix) -> Slot {
        let slot = Slot(found.format, checkpoint.file(of: found.numbers))
        let isPlain = found.scales == nil
        let checkpoint = checkpoint
        // What the file has as rows: of plain numbers the inputs.
        let (rows, columns) =
            isPlain
            ? (found.place.inputs, found.place.outputs)
            : (found.place.outputs, found.place.inputs)
        matrices.append(
            Matrix(
                place: found.numbers, bytes: found.bytes(of: found.numbers),
                interleaving: found.place.interleaving, outputs: rows, inputs: columns,
                format: found.format,
                storedScales: found.scales.map { scales in
                    storedScales(scales, found.bytes(of: scales), .float8e8m0) {
                        found.scaleFault(output: $0, group: $1, in: checkpoint)
                    }
                },
                parts: [Part(rows: nil, transposed: isPlain, slot: slot)]))
        return slot
    }

    /// Reads a small tensor now, widened to `[1, count]`.
    public func vector(_ name: String, count: Int) throws -> Tensor {
        if case .random(let random) = source {
            return Tensor(rows: 1, columns: count, values: random.values(name, count: count))
        }
        let place = try checkpoint.locate(name)
        let values = try values(
            of: place, shape: [count], first: 0, count: place.entry.bytes.count)
        return Tensor(rows: 1, columns: count, values: values)
    }

    /// Reads one row of a small matrix now, widened to Float32.
    ///
    /// - Parameter shape: Of the matrix, `[rows, columns]`.
    public func row(_ row: Int, of name: String, shape: [Int]) throws -> [Float] {
        if case .random(let random) = source { return random.values(name, count: shape[1]) }
        let place = try checkpoint.locate(name)
        let rowBytes = place.entry.bytes.count / max(1, shape[0])
        return try values(
            of: place, shape: shape, first: row * rowBytes, count: rowBytes)
    }

    /// Some bytes of a small tensor of plain numbers, widened.
    private func values(
        of place: Checkpoint.Located, shape: [Int], first: Int, count: Int
    ) throws -> [Float] {
        guard let format = WeightTypes.vector(place.entry.type) else {
            throw fault(
                place, "dtype \(place.entry.type.rawValue) is none of F32, F16, BF16")
        }
        try check(place, shape: shape)
        let values = Quantisation.widened(
            try checkpoint.readBytes(of: place, first ..< first + count), as: format)
        guard values.allSatisfy(\.isFinite) else {
            throw fault(place, "holds a value that is not finite")
        }
        return values
    }

    // MARK: - Loading

    /// Packs everything that was asked for.
    ///
    /// - Parameter progress: Called now and then, from the caller's thread.
    public func load(pool: ThreadPool, progress: ((LoadProgress) -> Void)?) throws {
        try requireAll()
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
        (matrices, randomMatrices) = ([], [])
    }

    /// Has everything that was asked for come here, where only a part of the checkpoint is.
    private func requireAll() throws {
        guard case .folder(let checkpoint) = source else { return }
        try checkpoint.require(
            matrices.flatMap { matrix in
                [(matrix.place, matrix.bytes)]
                    + (matrix.storedScales.map { [($0.place, $0.bytes)] } ?? [])
            })
    }

    /// Reserves the memory of every weight and lists the pieces in the order of the files.
    private func makeTasks() throws -> [Task] {
        var tasks: [Task] = []
        if case .random(let random) = source {
            for packing in try randomMatrices.flatMap({ try $0.packings(seed: random.seed) }) {
                tasks += (0 ..< packing.pieceCount).map { Task(packing: packing, piece: $0) }
            }
        }
        let order = matrices.sorted { a, b in
            (a.place.shardIndex, a.bytes.lowerBound) < (b.place.shardIndex, b.bytes.lowerBound)
        }
        for matrix in order {
            for part in matrix.parts {
                let packing = try WeightPacking(
                    checkpoint.shards[matrix.place.shardIndex], bytes: matrix.bytes,
                    format: matrix.format, outputs: matrix.outputs, inputs: matrix.inputs,
                    scales: matrix.scales, storedScales: matrix.storedScales?.scales,
                    rows: part.rows, transposed: part.transposed,
                    interleaving: matrix.interleaving)
                part.slot.stored = packing.weight
                tasks += (0 ..< packing.pieceCount).map {
                    Task(
                        place: matrix.place, scaleFault: matrix.storedScales?.fault,
                        packing: packing, piece: $0)
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

    private func fault(_ task: Task, _ error: PackingError) -> any Error {
        guard let place = task.place else { return error }
        switch error {
        case .file(let error): return fault(place, "\(error.call): \(error.reason)")
        case .numbers(let error):
            guard case .scale(let output, let group) = error, let describe = task.scaleFault
            else { return fault(place, "\(error)") }
            return describe(output, group)
        }
    }

    private func fault(_ place: Checkpoint.Located, _ fact: String) -> CheckpointError {
        .tensor(file: checkpoint.file(of: place), name: place.entry.name, fact: fact)
    }
}
