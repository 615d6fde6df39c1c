/// Rows of one kind in a window: a few numbers, for loops that would copy a whole map per row.
struct RowPlaces {
    let start: Int, stride: Int, byteCount: Int, rowCount: Int

    /// All of them, and what lies between.
    var all: Range<Int> { start ..< start + max(0, (rowCount - 1) * stride + byteCount) }

    @inline(__always)
    subscript(row: Int) -> Range<Int> {
        let first = start + row * stride
        return first ..< first + byteCount
    }
}
