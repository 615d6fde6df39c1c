internal import CKernels

/// A matrix `[rows, columns]` stored in a codec's bytes, as bf16 activations do.
///
/// Rows begin on cache lines; the memory begins as zeros. Views share it, as those of `Tensor`.
@safe public final class EncodedRows: @unchecked Sendable {
    // Safe because: the memory lives as long as `owner`, its size never changes, and the code
    // that hands rows to another thread orders their reads and writes (a join, a signal, a lock).
    private let owner: OwnedMemory
    private let base: UnsafeMutableRawPointer
    /// How the values lie in a row.
    public let codec: RowCodec
    public let rows: Int
    public let columns: Int
    /// Bytes of a row, and from one to the next.
    public let rowBytes: Int, rowStride: Int

    private static let alignment = 64

    public init(_ codec: RowCodec, rows: Int, columns: Int) {
        precondition(rows >= 0 && columns >= 0, "\(rows) rows of \(columns) columns")
        self.codec = codec
        self.rows = rows
        self.columns = columns
        rowBytes = codec.byteCount(columns: columns)
        rowStride = (rowBytes + Self.alignment - 1) / Self.alignment * Self.alignment
        owner = OwnedMemory(byteCount: max(rows * rowStride, 1))
        unsafe base = owner.base
    }

    private init(_ whole: EncodedRows, rows range: Range<Int>) {
        owner = whole.owner
        unsafe base = whole.base + range.lowerBound * whole.rowStride
        codec = whole.codec
        rows = range.count
        columns = whole.columns
        rowBytes = whole.rowBytes
        rowStride = whole.rowStride
    }

    /// Rows `range`, on the same memory.
    public func view(rows range: Range<Int>) -> EncodedRows {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        return EncodedRows(self, rows: range)
    }

    /// The bytes of all rows, one every `rowStride` bytes.
    public var bytes: RawSpan {
        @_lifetime(borrow self) get {
            let span = unsafe RawSpan(_unsafeStart: base, byteCount: rows * rowStride)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The bytes of all rows, to write.
    public var mutableBytes: MutableRawSpan {
        @_lifetime(borrow self) get {
            let span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: rows * rowStride)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The bytes of one row.
    @_lifetime(borrow self)
    public func row(_ index: Int) -> RawSpan {
        precondition(index >= 0 && index < rows, "row \(index) of \(rows)")
        let span = unsafe RawSpan(
            _unsafeStart: base + index * rowStride, byteCount: rowBytes)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// The bytes of one row, to write.
    @_lifetime(borrow self)
    public func mutableRow(_ index: Int) -> MutableRawSpan {
        precondition(index >= 0 && index < rows, "row \(index) of \(rows)")
        let span = unsafe MutableRawSpan(
            _unsafeStart: base + index * rowStride, byteCount: rowBytes)
        return unsafe _overrideLifetime(span, borrowing: self)
    }
}

extension RowCodec {
    /// Whether `encode(_:as:columns:into:)` takes rows of another codec.
    public func encodes(_ source: RowCodec) -> Bool {
        source == self || source == .float32 || source == .bfloat16
    }

    /// Writes a row that rests as `source` into `target`: f32 and bf16 become anything, any row
    /// becomes itself. The bits are those of `encode` from the widened values.
    ///
    /// Row and target must be aligned to 4 bytes.
    public func encode(
        _ row: RawSpan, as source: RowCodec, columns: Int, into target: inout MutableRawSpan
    ) {
        precondition(encodes(source), "\(source) does not become \(self)")
        let size = source.byteCount(columns: columns)
        precondition(row.byteCount >= size, "\(row.byteCount) bytes of a row of \(size)")
        let needed = byteCount(columns: columns)
        precondition(
            target.byteCount >= needed, "\(target.byteCount) bytes for a row of \(needed)")
        unsafe row.withUnsafeBytes { from in
            unsafe target.withUnsafeMutableBytes { to in
                guard let from = from.baseAddress, let to = to.baseAddress else { return }
                unsafe recode(from, as: source, columns, to)
            }
        }
    }

    private func recode(
        _ from: UnsafeRawPointer, as source: RowCodec, _ count: Int, _ to: UnsafeMutableRawPointer
    ) {
        switch (source, self) {
        case (_, source):
            unsafe to.copyMemory(from: from, byteCount: byteCount(columns: count))
        case (.bfloat16, .float8e4m3(let powerOfTwo)):
            let scales = unsafe to + byteCount(columns: count) - (count + 127) / 128 * 4
            unsafe ck_e4m3_encode_bf16(
                from.assumingMemoryBound(to: UInt16.self), to.assumingMemoryBound(to: UInt8.self),
                scales.assumingMemoryBound(to: Float.self), count, powerOfTwo)
        case (.bfloat16, _):
            unsafe ck_bf16_decode(
                from.assumingMemoryBound(to: UInt16.self), to.assumingMemoryBound(to: Float.self),
                count)
        default:
            unsafe encode(from.assumingMemoryBound(to: Float.self), count, to)
        }
    }
}
