internal import CKernels

/// A weight on its way from a file into the kernels' layout, in pieces that any threads may pack.
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
    private let file: MappedFile
    private let firstByte: Int
    private let part: MatrixPart
    private let scales: [Float]
    private let pieceOutputs: Int

    /// Reserves the memory of a matrix, or of a part of one, that lies in a file.
    ///
    /// - Parameters:
    ///   - bytes: Where in `file` the whole matrix lies, row-major `[outputs, inputs]`.
    ///   - scales: float8e4m3: `[ceil(outputs/128), ceil(inputs/128)]`, row-major.
    ///   - rows: The outputs to keep; all when nil.
    ///   - transposed: As for `Weight`.
    /// - Throws: `TensorError` when byte counts do not fit the shape.
    public init(
        _ file: MappedFile, bytes: Range<Int>, format: NumberFormat, outputs: Int, inputs: Int,
        scales: [Float] = [], rows: Range<Int>? = nil, transposed: Bool = false
    ) throws(TensorError) {
        let source = MatrixSource(format: format, outputs: outputs, inputs: inputs)
        try source.check(byteCount: bytes.count, scaleBytes: scales.count * 4)
        precondition(format != .int8, "no checkpoint holds int8")
        part = MatrixPart(source: source, rows: rows ?? 0 ..< outputs, transposed: transposed)
        weight = Weight(reserving: part, scales: scales)
        self.file = file
        self.scales = scales
        firstByte = bytes.lowerBound + part.rows.lowerBound * part.rowBytes
        let panel = Int(CK_PANEL)
        let panelBytes = ck_packed_bytes(part.packedFormat.code, CK_PANEL, Int32(part.inputs))
        pieceOutputs =
            part.packsByOutputs
            ? max(1, Self.pieceBytes / panelBytes) * panel : part.outputs
        pieceCount = (part.outputs + pieceOutputs - 1) / pieceOutputs
    }

    /// Bytes of the file that all pieces read together.
    public var byteCount: Int { part.rows.count * part.rowBytes }

    /// Reads and packs one piece.
    ///
    /// - Parameter thread: The share of `pool.run` that calls.
    /// - Throws: `FileError` if the system refuses the bytes or the file became shorter.
    public func pack(_ piece: Int, pool: ThreadPool, thread: Int) throws(FileError) {
        precondition((0 ..< pieceCount).contains(piece), "piece \(piece) of \(pieceCount)")
        let last = min((piece + 1) * pieceOutputs, part.outputs)
        guard part.packsByOutputs else {
            let rows = unsafe try read(0 ..< part.rows.count, pool, thread)
            unsafe part.fill(weight.packed, outputs: 0 ..< part.outputs, from: rows, scales)
            return
        }
        let step = max(1, Self.readBytes / part.rowBytes / Int(CK_PACK_ROWS)) * Int(CK_PACK_ROWS)
        for first in stride(from: piece * pieceOutputs, to: last, by: step) {
            let outputs = first ..< min(first + step, last)
            let rows = unsafe try read(outputs, pool, thread)
            unsafe part.fill(weight.packed, outputs: outputs, from: rows, scales)
        }
    }

    /// Reads some of the kept rows into the thread's scratch.
    private func read(
        _ rows: Range<Int>, _ pool: ThreadPool, _ thread: Int
    ) throws(FileError) -> UnsafeRawPointer {
        let count = rows.count * part.rowBytes
        let scratch = unsafe ck_pool_scratch(pool.handle, Int32(thread), count)!
        let first = firstByte + rows.lowerBound * part.rowBytes
        try unsafe file.read(first ..< first + count, to: scratch)
        return UnsafeRawPointer(scratch)
    }
}
