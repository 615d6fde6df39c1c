internal import CKernels

/// Where a matrix lies in a file that has the outputs of several in turn: the first of each, then
/// the second.
public struct Interleaving: Sendable {
    /// A matrix that lies alone.
    public static let none = Interleaving(count: 1, index: 0)
    /// Matrices.
    public let count: Int
    /// Which of them this is.
    public let index: Int

    public init(count: Int, index: Int) {
        precondition((0 ..< count).contains(index), "matrix \(index) of \(count)")
        self.count = count
        self.index = index
    }
}

/// A weight on its way from a file, or from a generator of random numbers, into the kernels'
/// layout, in pieces that any threads may pack.
///
/// A piece is read a few rows at a time into memory that stays in the second-level cache and is
/// packed from there. Instead of: touching mapped pages, which costs a fault per 64 KiB and the
/// taking apart of what the fault built: 7 to 9 GB/s where this packs 12 (Zen 5, two threads).
///
/// The weight's own memory is first touched by the thread that packs into it: the system's zeros
/// are then still in that core's cache.
@safe public final class WeightPacking: @unchecked Sendable {
    // Safe because: what is stored here never changes, and pieces write disjoint outputs.

    /// Packed bytes of one piece: a huge page, so that threads seldom wait for the same one.
    private static let pieceBytes = 2 << 20
    /// Bytes read at a time: a quarter of a second-level cache.
    private static let readBytes = 256 << 10

    /// The weight; complete once every piece is packed.
    public let weight: Weight
    /// Pieces to pack, each once, in any order.
    public let pieceCount: Int
    /// Where the numbers come from.
    private enum Origin {
        /// The kept rows from `firstByte` on, and scales of 4 bits.
        case file(MappedFile, firstByte: Int, scales: StoredScales?)
        case random(seed: UInt64)
    }

    private let origin: Origin
    private let part: MatrixPart
    private let scales: [Float]
    private let pieceOutputs: Int
    private let interleaving: Interleaving

    /// Reserves the memory of a matrix, or of a part of one, that lies in a file.
    ///
    /// - Parameters:
    ///   - bytes: Where in `file` the whole matrix lies, row-major `[outputs, inputs]`.
    ///   - scales: float8e4m3: `[ceil(outputs/128), ceil(inputs/128)]`, row-major.
    ///   - storedScales: int4 and mxfp4: where they lie. They are read with the rows, because they
    ///     are a ninth of the matrix.
    ///   - rows: The outputs to keep; all when nil.
    ///   - transposed: As for `Weight`.
    ///   - interleaving: Which of the matrices in `bytes` this is. All of them are read, and the
    ///     numbers of this one are kept.
    /// - Throws: `TensorError` when byte counts do not fit the shape.
    public init(
        _ file: MappedFile, bytes: Range<Int>, format: NumberFormat, outputs: Int, inputs: Int,
        scales: [Float] = [], storedScales: StoredScales? = nil, rows: Range<Int>? = nil,
        transposed: Bool = false, interleaving: Interleaving = .none
    ) throws(TensorError) {
        let source = MatrixSource(
            format: format, outputs: outputs, inputs: inputs,
            scaleFormat: storedScales?.format ?? .float32)
        let shares = interleaving.count
        try source.check(
            byteCount: bytes.count / shares,
            scaleBytes: storedScales.map { $0.bytes.count / shares } ?? scales.count * 4)
        precondition(format != .int8, "no checkpoint holds int8")
        precondition(
            shares == 1 || rows == nil && scales.isEmpty, "a part of an interleaved matrix")
        self.interleaving = interleaving
        part = MatrixPart(source: source, rows: rows ?? 0 ..< outputs, transposed: transposed)
        weight = Weight(reserving: part, scales: scales)
        self.scales = scales
        origin = .file(
            file, firstByte: bytes.lowerBound + part.rows.lowerBound * part.rowBytes,
            scales: storedScales)
        (pieceOutputs, pieceCount) = Self.cut(part)
    }

    /// Memory that a weight would take which `init` makes of a file, padding and scales included.
    ///
    /// - Parameter scaleFormat: Of the scales of int4 and mxfp4.
    public static func packedByteCount(
        format: NumberFormat, outputs: Int, inputs: Int, scaleFormat: ScaleFormat = .float32,
        rows: Range<Int>? = nil, transposed: Bool = false
    ) -> Int {
        let source = MatrixSource(
            format: format, outputs: outputs, inputs: inputs, scaleFormat: scaleFormat)
        let part = MatrixPart(
            source: source, rows: rows ?? 0 ..< outputs, transposed: transposed)
        return part.packedBytes + part.packedScaleBytes
    }

    /// Reserves the memory of a matrix, or of a part of one, that is drawn where it is packed: all
    /// its numbers are finite, with a standard deviation of about 0.019.
    ///
    /// - Parameters:
    ///   - seed: The same seed and sizes give the same numbers.
    ///   - format: bfloat16, float8e4m3, int4 or mxfp4.
    ///   - rows: The outputs to keep; all when nil.
    ///   - transposed: As for `Weight`.
    /// - Throws: `TensorError` for sizes that the format does not take.
    public init(
        random seed: UInt64, format: NumberFormat, outputs: Int, inputs: Int,
        rows: Range<Int>? = nil, transposed: Bool = false
    ) throws(TensorError) {
        let scaleFormat = RandomNumbers.scaleFormat(of: format)
        let source = MatrixSource(
            format: format, outputs: outputs, inputs: inputs, scaleFormat: scaleFormat)
        try source.check(
            byteCount: format.byteCount(of: outputs * inputs),
            scaleBytes: format.scaleCount(outputs: outputs, inputs: inputs) * scaleFormat.size)
        interleaving = .none
        part = MatrixPart(source: source, rows: rows ?? 0 ..< outputs, transposed: transposed)
        scales =
            format == .float8e4m3
            ? [Float](
                repeating: RandomNumbers.float8Scale,
                count: format.scaleCount(outputs: outputs, inputs: inputs)) : []
        weight = Weight(reserving: part, scales: scales)
        origin = .random(seed: seed)
        (pieceOutputs, pieceCount) = Self.cut(part)
    }

    /// How many outputs a piece has, and how many pieces there are.
    private static func cut(_ part: MatrixPart) -> (outputs: Int, count: Int) {
        let panel = Int(CK_PANEL)
        let panelBytes = ck_packed_bytes(part.packedCode, CK_PANEL, Int32(part.inputs))
        let outputs =
            part.packsByOutputs ? max(1, pieceBytes / panelBytes) * panel : part.outputs
        return (outputs, (part.outputs + outputs - 1) / outputs)
    }

    /// Bytes that all pieces read or draw together.
    public var byteCount: Int { part.rows.count * (part.rowBytes + scaleRowBytes) }

    /// Bytes of the scales that come with a row.
    private var scaleRowBytes: Int { part.source.format.isFourBit ? part.scaleRowBytes : 0 }

    /// Reads and packs one piece.
    ///
    /// - Parameter thread: The share of `pool.run` that calls.
    /// - Throws: `PackingError` if the system refuses the bytes, if the file became shorter, or for
    ///   a scale that is zero or not finite in 4 bits.
    public func pack(_ piece: Int, pool: ThreadPool, thread: Int) throws(PackingError) {
        precondition((0 ..< pieceCount).contains(piece), "piece \(piece) of \(pieceCount)")
        let last = min((piece + 1) * pieceOutputs, part.outputs)
        guard part.packsByOutputs else {
            return try fill(0 ..< part.outputs, rows: 0 ..< part.rows.count, pool, thread)
        }
        let step = max(1, Self.readBytes / part.rowBytes / Int(CK_PACK_ROWS)) * Int(CK_PACK_ROWS)
        for first in stride(from: piece * pieceOutputs, to: last, by: step) {
            let outputs = first ..< min(first + step, last)
            try fill(outputs, rows: outputs, pool, thread)
        }
    }

    /// Reads or draws some of the kept rows, with their scales, into the thread's scratch, and
    /// packs them.
    private func fill(
        _ outputs: Range<Int>, rows: Range<Int>, _ pool: ThreadPool, _ thread: Int
    ) throws(PackingError) {
        let shares = interleaving.count
        let count = rows.count * part.rowBytes * shares
        let scaleCount = rows.count * scaleRowBytes * shares
        let scratch = unsafe ck_pool_scratch(pool.handle, Int32(thread), count + scaleCount)!
        switch origin {
        case .file(let file, let firstByte, let stored):
            let first = firstByte + rows.lowerBound * part.rowBytes * shares
            do throws(FileError) {
                try unsafe file.read(first ..< first + count, to: scratch)
                if let stored {
                    let row = part.rows.lowerBound + rows.lowerBound
                    let first = stored.bytes.lowerBound + row * part.scaleRowBytes * shares
                    try unsafe stored.file.read(first ..< first + scaleCount, to: scratch + count)
                }
            } catch { throw .file(error) }
        case .random(let seed):
            // Pieces begin at multiples of 16 rows, so that words of 8 bytes do not straddle them.
            let first = (part.rows.lowerBound + rows.lowerBound) * part.rowBytes
            unsafe RandomNumbers.fill(
                scratch, count: count, part.source.format, seed: seed, word: first / 8)
            unsafe RandomNumbers.fillScales(scratch + count, count: scaleCount, part.source)
        }
        if shares > 1 {
            // An output is a row, or of a transposed matrix a number of every row.
            let unit =
                part.transposed
                ? part.source.format.byteCount(of: 1) : part.rowBytes
            unsafe ck_take_every(scratch, unit, count / shares / unit, shares, interleaving.index)
            if scaleCount > 0 {
                unsafe ck_take_every(
                    scratch + count, part.scaleRowBytes, rows.count, shares, interleaving.index)
            }
        }
        guard part.source.format.isFourBit else {
            unsafe part.fill(weight.packed, outputs: outputs, from: scratch, scales)
            return
        }
        do throws(TensorError) {
            try unsafe part.fillFourBit(
                weight.packed, outputs: outputs, from: scratch, scales: scratch + count)
        } catch { throw .numbers(error) }
    }
}
