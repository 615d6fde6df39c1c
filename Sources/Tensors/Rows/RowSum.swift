internal import CKernels

/// Adds encoded rows that lie in different places, all in one pass over the columns.
///
/// The bits are those of one `RowCodec.accumulate` after the other, in the order of the rows.
@safe public final class RowSum {
    private let codec: RowCodec
    private let columns: Int
    private let rowBytes: Int
    private var rows: [UnsafeRawPointer] = unsafe []
    private var weights: [Float] = []
    /// A sum on its way into a codec that no kernel writes.
    private let scratch: Tensor

    /// Rows of this codec and width; room for `capacity` of them.
    public init(_ codec: RowCodec, columns: Int, capacity: Int) {
        self.codec = codec
        self.columns = columns
        rowBytes = codec.byteCount(columns: columns)
        scratch = Tensor(rows: 1, columns: columns)
        unsafe rows.reserveCapacity(capacity)
        weights.reserveCapacity(capacity)
    }

    /// Calls `body` with one more row to add. The row is borrowed until `body` returns.
    @inline(__always)
    public func with(_ row: RawSpan, weight: Float, _ body: () -> Void) {
        precondition(row.byteCount >= rowBytes, "\(row.byteCount) bytes of a row of \(rowBytes)")
        unsafe row.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return body() }
            unsafe rows.append(start)
            weights.append(weight)
            body()
            _ = unsafe rows.popLast()
            weights.removeLast()
        }
    }

    /// target += the rows that are lent now.
    public func add(into target: inout MutableSpan<Float>) {
        precondition(target.count == columns, "\(target.count) sums of \(columns) columns")
        unsafe target.withUnsafeMutableBufferPointer { target in
            guard let sums = target.baseAddress else { return }
            guard codec == .bfloat16 else {
                for index in unsafe rows.indices {
                    unsafe codec.accumulate(rows[index], weights[index], sums, target.count)
                }
                return
            }
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe rows.withMemoryRebound(to: UnsafePointer<UInt16>?.self) { rows in
                    unsafe ck_bf16_sum(
                        rows.baseAddress, weights, Int32(rows.count), sums, target.count)
                }
            }
        }
    }

    /// target = the rows that are lent now, added from zero on and encoded; zeros if none are.
    public func write(into target: inout MutableRawSpan, as resting: RowCodec) {
        guard codec == .bfloat16, resting == .bfloat16 else {
            let scratch = scratch
            scratch.fill(0)
            var sums = scratch.mutableRow(0)
            add(into: &sums)
            return resting.encode(scratch.row(0), into: &target)
        }
        precondition(
            target.byteCount >= 2 * columns, "\(target.byteCount) bytes for \(columns) columns")
        unsafe target.withUnsafeMutableBytes { target in
            guard let base = target.baseAddress else { return }
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe rows.withMemoryRebound(to: UnsafePointer<UInt16>?.self) { rows in
                    unsafe ck_bf16_sum_to_bf16(
                        rows.baseAddress, weights, Int32(rows.count),
                        base.assumingMemoryBound(to: UInt16.self), columns)
                }
            }
        }
    }
}
