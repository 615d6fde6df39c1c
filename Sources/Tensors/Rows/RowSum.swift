internal import CKernels

/// One row of a sum: which area holds it, from which byte on, and how much it counts.
public struct RowTerm {
    let area: Int
    let offset: Int
    let weight: Float

    /// A row of `area`, the number that `RowSum.withArea` gave out.
    @inline(__always)
    public init(area: Int, offset: Int, weight: Float) {
        self.area = area
        self.offset = offset
        self.weight = weight
    }
}

/// Adds encoded rows that lie in different places, all in one pass over the columns.
///
/// The bits are those of one `RowCodec.accumulate` after the other, in the order of the terms.
@safe public final class RowSum {
    private let codec: RowCodec
    private let columns: Int
    private let rowBytes: Int
    private let capacity: Int
    private var areas: [UnsafeRawBufferPointer] = unsafe []
    /// What the kernels take: where each row lies, and its weight.
    private let rows: UnsafeMutablePointer<UnsafePointer<UInt16>?>
    private let weights: UnsafeMutablePointer<Float>
    /// A sum on its way into a codec that no kernel writes.
    private let scratch: Tensor

    /// Sums of up to `capacity` rows of this codec and width.
    public init(_ codec: RowCodec, columns: Int, capacity: Int) {
        self.codec = codec
        self.columns = columns
        self.capacity = capacity
        rowBytes = codec.byteCount(columns: columns)
        scratch = Tensor(rows: 1, columns: columns)
        unsafe rows = .allocate(capacity: max(capacity, 1))
        unsafe rows.initialize(repeating: nil, count: max(capacity, 1))
        unsafe weights = .allocate(capacity: max(capacity, 1))
        unsafe weights.initialize(repeating: 0, count: max(capacity, 1))
    }

    deinit {
        unsafe rows.deallocate()
        unsafe weights.deallocate()
    }

    /// Calls `body` with the number under which terms name this memory; it holds until `body`
    /// returns.
    public func withArea<R>(_ bytes: RawSpan, _ body: (Int) throws -> R) rethrows -> R {
        try unsafe bytes.withUnsafeBytes { bytes in
            unsafe areas.append(bytes)
            defer { unsafe areas.removeLast() }
            return try body(unsafe areas.count - 1)
        }
    }

    /// target += the rows of the terms.
    public func add(_ terms: [RowTerm], into target: inout MutableSpan<Float>) {
        precondition(target.count == columns, "\(target.count) sums of \(columns) columns")
        find(terms)
        unsafe target.withUnsafeMutableBufferPointer { target in
            guard let sums = target.baseAddress else { return }
            guard codec == .bfloat16 else {
                for index in terms.indices {
                    guard let row = unsafe rows[index] else { continue }
                    unsafe codec.accumulate(row, weights[index], sums, target.count)
                }
                return
            }
            unsafe ck_bf16_sum(rows, weights, Int32(terms.count), sums, target.count)
        }
    }

    /// target = the rows of the terms, added from zero on and encoded; zeros if there are none.
    ///
    /// - Parameter isStreamed: Past the cache, where it may be: for more rows than a cache keeps
    ///   until they are read.
    public func write(
        _ terms: [RowTerm], into target: inout MutableRawSpan, as stored: RowCodec,
        isStreamed: Bool = false
    ) {
        guard codec == .bfloat16, stored == .bfloat16 else {
            let scratch = scratch
            scratch.fill(0)
            var sums = scratch.mutableRow(0)
            add(terms, into: &sums)
            return stored.encode(scratch.row(0), into: &target)
        }
        precondition(
            target.byteCount >= 2 * columns, "\(target.byteCount) bytes for \(columns) columns")
        find(terms)
        unsafe target.withUnsafeMutableBytes { target in
            guard let base = target.baseAddress else { return }
            unsafe ck_bf16_sum_to_bf16(
                rows, weights, Int32(terms.count), base.assumingMemoryBound(to: UInt16.self),
                columns, isStreamed)
        }
    }

    /// Takes the addresses of the terms' rows, each checked against its area.
    private func find(_ terms: [RowTerm]) {
        precondition(terms.count <= capacity, "\(terms.count) rows in a sum of \(capacity)")
        for (index, term) in terms.enumerated() {
            let area = unsafe areas[term.area]
            precondition(
                term.offset >= 0 && term.offset + rowBytes <= area.count,
                "\(rowBytes) bytes at \(term.offset) of \(area.count)")
            unsafe rows[index] = area.baseAddress.map {
                unsafe ($0 + term.offset).assumingMemoryBound(to: UInt16.self)
            }
            unsafe weights[index] = term.weight
        }
    }
}
