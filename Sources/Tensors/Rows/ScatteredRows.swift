internal import CKernels

/// Rows of one width that lie in different places, each as a codec writes it: what an expert layer
/// reads or writes without a copy.
///
/// A row is named by an area and an offset there. An area is memory that a caller has for the time
/// of a call. Addresses are made and checked where rows are used, so none outlives its area.
@safe public final class ScatteredRows {
    @safe private struct Area {
        let bytes: UnsafeMutableRawBufferPointer
        let isWritable: Bool
    }

    private struct Place {
        var area: Int
        var offset: Int
    }

    /// How the values lie in a row.
    public let codec: RowCodec
    public let columns: Int
    private let rowBytes: Int
    private var areas: [Area] = []
    private var places: [Place] = []

    /// No rows yet; memory is kept from one use to the next.
    public init(_ codec: RowCodec, columns: Int) {
        self.codec = codec
        self.columns = columns
        rowBytes = codec.byteCount(columns: columns)
    }

    public var count: Int { places.count }

    /// Forgets the rows before. Each of the new ones has to be placed.
    public func begin(count: Int) {
        places.removeAll(keepingCapacity: true)
        places.append(contentsOf: repeatElement(Place(area: -1, offset: 0), count: count))
    }

    /// Says where a row lies. Its first byte must be aligned to 4.
    ///
    /// - Parameter area: The number that `withArea` gave out.
    @inline(__always)
    public func place(_ row: Int, area: Int, offset: Int) {
        places[row] = Place(area: area, offset: offset)
    }

    /// Calls `body` with the number of this memory, whose rows may be read until `body` returns.
    public func withArea<R>(
        reading bytes: RawSpan, _ body: (Int) throws -> R
    ) rethrows -> R {
        try unsafe bytes.withUnsafeBytes { bytes in
            let bytes = unsafe UnsafeMutableRawBufferPointer(mutating: bytes)
            unsafe areas.append(Area(bytes: bytes, isWritable: false))
            defer { areas.removeLast() }
            return try body(areas.count - 1)
        }
    }

    /// The same for memory whose rows may be written too.
    public func withArea<R>(
        writing bytes: inout MutableRawSpan, _ body: (Int) throws -> R
    ) rethrows -> R {
        try unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe areas.append(Area(bytes: bytes, isWritable: true))
            defer { areas.removeLast() }
            return try body(areas.count - 1)
        }
    }

    /// Gives the bytes of a row to `body`.
    public func withRow<R>(_ row: Int, _ body: (RawSpan) throws -> R) rethrows -> R {
        let address = unsafe address(of: row, isWritten: false)
        return try body(unsafe RawSpan(_unsafeStart: address, byteCount: rowBytes))
    }

    /// Gives the bytes of a row to `body`, to write.
    public func withMutableRow<R>(
        _ row: Int, _ body: (inout MutableRawSpan) throws -> R
    ) rethrows -> R {
        let address = unsafe address(of: row, isWritten: true)
        var bytes = unsafe MutableRawSpan(_unsafeStart: address, byteCount: rowBytes)
        return try body(&bytes)
    }

    private func address(of row: Int, isWritten: Bool) -> UnsafeMutableRawPointer {
        let place = places[row]
        precondition(
            areas.indices.contains(place.area), "row \(row) lies in no area that is there")
        let area = areas[place.area]
        precondition(
            area.isWritable || !isWritten, "row \(row) of an area that is only read")
        precondition(
            unsafe place.offset >= 0 && place.offset + rowBytes <= area.bytes.count,
            unsafe "\(rowBytes) bytes at \(place.offset) of \(area.bytes.count)")
        guard let base = unsafe area.bytes.baseAddress else {
            preconditionFailure("row \(row) of an area without memory")
        }
        return unsafe base + place.offset
    }

    /// Where each row lies, as the kernels take it; good as long as the areas are.
    func addresses(areWritten: Bool) -> [UnsafeMutableRawPointer?] {
        unsafe places.indices.map { unsafe address(of: $0, isWritten: areWritten) }
    }
}

extension RowCodec {
    /// The kernels' name of a row's values.
    var code: Int32 {
        switch self {
        case .float32: Int32(CK_F32.rawValue)
        case .bfloat16: Int32(CK_BF16.rawValue)
        case .float8e4m3: Int32(CK_E4M3.rawValue)
        }
    }
}
