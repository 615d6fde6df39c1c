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
