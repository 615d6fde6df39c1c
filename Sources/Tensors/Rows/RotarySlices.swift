internal import CKernels

/// The slices of a row that carry a position: one per head, or one in all.
public struct RotarySlices: Sendable {
    /// Column of the first slice.
    public let first: Int
    /// Columns from one slice to the next.
    public let stride: Int
    /// How many slices.
    public let count: Int

    public init(first: Int, stride: Int = 0, count: Int = 1) {
        self.first = first
        self.stride = stride
        self.count = count
    }
}

/// Which two values of a slice turn together.
public enum RotaryPairs: Sendable {
    /// Values 2i and 2i + 1, as DeepSeek's weights have them.
    case neighbours
    /// Values i and width / 2 + i.
    case halves
}

/// Rotates the pairs of every slice by the angles of its row's position, in place.
///
/// - Parameters:
///   - positions: One per row of x.
///   - cosines, sines: `[positions, width / 2]`, YaRN already in them.
///   - inverse: Rotates back, which is the gradient.
///   - kind: Which values are a pair.
public func rope(
    _ x: Tensor, slices: RotarySlices, positions: [Int32], cosines: Tensor, sines: Tensor,
    inverse: Bool = false, of kind: RotaryPairs = .neighbours, pool: ThreadPool
) {
    let pairs = cosines.columns
    precondition(positions.count == x.rows, "\(positions.count) positions for \(x.rows) rows")
    precondition(
        slices.first >= 0 && slices.stride >= 0 && sines.columns == pairs
            && slices.first + (slices.count - 1) * slices.stride + 2 * pairs <= x.columns,
        "slices \(slices) of \(2 * pairs) columns in rows of \(x.columns)")
    for position in positions {
        precondition(
            position >= 0 && Int(position) < min(cosines.rows, sines.rows),
            "position \(position) of \(cosines.rows)")
    }
    pool.split(x.rows) { rows in
        for row in rows {
            let angle = Int(positions[row]) * pairs
            for slice in 0 ..< slices.count {
                let values = unsafe x.base + row * x.columns + slices.first + slice * slices.stride
                let turn = unsafe kind == .neighbours ? ck_rope : ck_rope_halves
                unsafe turn(
                    values, cosines.base + angle, sines.base + angle, Int32(pairs), inverse ? -1 : 1
                )
            }
        }
    }
}

/// Copies equally wide slices of every row to other columns of another tensor.
///
/// - Parameters:
///   - width: Columns of one slice.
///   - pool: Rows are shared among its threads.
public func copySlices(
    _ x: Tensor, _ from: RotarySlices, into y: Tensor, _ to: RotarySlices, width: Int,
    pool: ThreadPool
) {
    precondition(
        from.count == to.count && y.rows >= x.rows && from.first >= 0 && to.first >= 0
            && from.first + (from.count - 1) * from.stride + width <= x.columns
            && to.first + (to.count - 1) * to.stride + width <= y.columns,
        "\(from.count) slices of \(width): rows of \(x.columns) into rows of \(y.columns)")
    pool.split(x.rows) { rows in
        for row in rows {
            let source = unsafe x.base + row * x.columns + from.first
            let target = unsafe y.base + row * y.columns + to.first
            for slice in 0 ..< from.count {
                unsafe (target + slice * to.stride).update(
                    from: source + slice * from.stride, count: width)
            }
        }
    }
}
