internal import CKernels

/// A row-major matrix `[rows, columns]` of Float32: every activation of the runtime.
///
/// The memory is aligned to 64 bytes and begins as zeros. A tensor is a window on memory that its
/// views share, so a buffer made once for the largest batch serves every smaller one.
@safe public final class Tensor: @unchecked Sendable {
    // Safe because: the memory lives as long as `owner`, its size never changes, and a caller
    // that gives a tensor to another thread also orders their reads and writes (a join, a signal,
    // a lock).
    private let owner: TensorMemory
    let base: UnsafeMutablePointer<Float>
    public let rows: Int
    public let columns: Int

    public init(rows: Int, columns: Int) {
        precondition(rows >= 0 && columns >= 0, "a tensor of \(rows) rows, \(columns) columns")
        owner = TensorMemory(floatCount: rows * columns, isZeroed: true)
        unsafe base = owner.base
        self.rows = rows
        self.columns = columns
    }

    /// Holds whatever its memory held before: for a result of which every element is written.
    public init(unfilledRows rows: Int, columns: Int) {
        precondition(rows >= 0 && columns >= 0, "a tensor of \(rows) rows, \(columns) columns")
        owner = TensorMemory(floatCount: rows * columns, isZeroed: false)
        unsafe base = owner.base
        self.rows = rows
        self.columns = columns
    }

    /// Keeps the memory of freed tensors for new ones, process-wide, from now on.
    ///
    /// For work that repeats, as training steps do. What is kept is bounded: all tensor memory
    /// together stays within one and a half times the most that was in use at once.
    public static func recycleMemory() { ck_recycle(true) }

    /// Copies `values`, row after row.
    public convenience init(rows: Int, columns: Int, values: [Float]) {
        precondition(
            values.count == rows * columns, "\(values.count) values for \(rows)x\(columns)")
        self.init(rows: rows, columns: columns)
        for i in values.indices { unsafe base[i] = values[i] }
    }

    private init(owner: TensorMemory, base: UnsafeMutablePointer<Float>, rows: Int, columns: Int) {
        self.owner = owner
        unsafe self.base = unsafe base
        self.rows = rows
        self.columns = columns
    }

    public var count: Int { rows * columns }

    public subscript(row: Int, column: Int) -> Float {
        get {
            check(row, column)
            return unsafe base[row * columns + column]
        }
        set {
            check(row, column)
            unsafe base[row * columns + column] = newValue
        }
    }

    /// Rows `range`, on the same memory.
    public func view(rows range: Range<Int>) -> Tensor {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
        return unsafe Tensor(
            owner: owner, base: base + range.lowerBound * columns, rows: range.count,
            columns: columns)
    }

    /// The same floats, cut into other rows.
    public func reshaped(rows: Int, columns: Int) -> Tensor {
        precondition(rows * columns == count, "\(count) floats as \(rows)x\(columns)")
        return unsafe Tensor(owner: owner, base: base, rows: rows, columns: columns)
    }

    /// All floats, row after row.
    public var span: Span<Float> {
        @_lifetime(borrow self) get {
            let span = unsafe Span(_unsafeStart: base, count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// All floats, to write.
    public var mutableSpan: MutableSpan<Float> {
        @_lifetime(borrow self) get {
            let span = unsafe MutableSpan(_unsafeStart: base, count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    @_lifetime(borrow self)
    public func row(_ index: Int) -> Span<Float> {
        check(index, 0)
        let span = unsafe Span(_unsafeStart: base + index * columns, count: columns)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    @_lifetime(borrow self)
    public func mutableRow(_ index: Int) -> MutableSpan<Float> {
        check(index, 0)
        let span = unsafe MutableSpan(_unsafeStart: base + index * columns, count: columns)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Some columns of a row, to write.
    @_lifetime(borrow self)
    public func mutableRow(_ index: Int, columns range: Range<Int>) -> MutableSpan<Float> {
        check(index, 0)
        precondition(
            range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
        let start = unsafe base + index * columns + range.lowerBound
        let span = unsafe MutableSpan(_unsafeStart: start, count: range.count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// The bytes of all floats, to send or to store.
    public var bytes: RawSpan {
        @_lifetime(borrow self) get {
            let span = unsafe RawSpan(_unsafeStart: base, byteCount: count * 4)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The bytes of all floats, to receive into.
    public var mutableBytes: MutableRawSpan {
        @_lifetime(borrow self) get {
            let span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: count * 4)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    public func fill(_ value: Float) {
        if value.bitPattern == 0 {
            unsafe UnsafeMutableRawPointer(base).initializeMemory(
                as: UInt8.self, repeating: 0, count: count * 4)
            return
        }
        unsafe base.update(repeating: value, count: count)
    }

    /// Copies another tensor of the same shape.
    public func copy(from other: Tensor) {
        precondition(
            other.rows == rows && other.columns == columns,
            "copy of \(other.rows)x\(other.columns) into \(rows)x\(columns)")
        unsafe base.update(from: other.base, count: count)
    }

    /// All floats as an array, for tests and small results.
    public var values: [Float] {
        unsafe Array(UnsafeBufferPointer(start: base, count: count))
    }

    /// The bytes of all floats as an array, to write to a file.
    public var byteArray: [UInt8] {
        unsafe Array(UnsafeRawBufferPointer(start: base, count: count * 4))
    }

    private func check(_ row: Int, _ column: Int) {
        precondition(
            row >= 0 && row < rows && column >= 0 && column < max(columns, 1),
            "row \(row), column \(column) of \(rows)x\(columns)")
    }
}

/// Owns the memory that a tensor and its views share.
@safe private final class TensorMemory {
    let base: UnsafeMutablePointer<Float>
    private let byteCount: Int

    init(floatCount: Int, isZeroed: Bool) {
        byteCount = max(floatCount, 1) * MemoryLayout<Float>.stride
        unsafe base = ck_take(byteCount, isZeroed).assumingMemoryBound(to: Float.self)
    }

    deinit { unsafe ck_give(base, byteCount) }
}
