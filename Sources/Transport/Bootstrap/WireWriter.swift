/// Writes the few fixed-width fields of bootstrap frames, little-endian.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// A count of four bytes, then the bytes.
    mutating func append(_ blob: [UInt8]) {
        append(UInt32(blob.count))
        bytes += blob
    }

    mutating func append(_ text: String) { append(Array(text.utf8)) }
}

/// Reads what `WireWriter` wrote, from bytes that anybody may have sent.
///
/// Invariants:
/// 1. No read goes past the end: what is missing is an error.
/// 2. Nothing is allocated on the word of a count before its bytes are known to be there.
struct WireReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private let source: String

    /// - Parameter source: Who sent the bytes, for errors.
    init(_ bytes: ArraySlice<UInt8>, from source: String) {
        self.bytes = bytes
        self.source = source
        position = bytes.startIndex
    }

    init(_ bytes: [UInt8], from source: String) { self.init(bytes[...], from: source) }

    var remainingCount: Int { bytes.endIndex - position }

    private mutating func take(
        _ count: Int, _ field: String
    ) throws(TransportError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remainingCount else {
            throw .malformed(
                from: source, "\(field) takes \(count) bytes, \(remainingCount) are left")
        }
        defer { position += count }
        return bytes[position ..< position + count]
    }

    mutating func integer<T: FixedWidthInteger>(
        _ type: T.Type, _ field: String
    ) throws(TransportError) -> T {
        var value: T = 0
        for (index, byte) in try take(T.bitWidth / 8, field).enumerated() {
            value |= T(truncatingIfNeeded: byte) << (8 * index)
        }
        return value
    }

    /// A count that must lie in `range`.
    mutating func count(
        _ field: String, in range: ClosedRange<Int>
    ) throws(TransportError) -> Int {
        let value = try integer(UInt64.self, field)
        guard let count = Int(exactly: value), range.contains(count) else {
            throw .malformed(from: source, "\(field) \(value) is outside \(range)")
        }
        return count
    }

    mutating func blob(_ field: String, limit: Int) throws(TransportError) -> [UInt8] {
        let count = Int(try integer(UInt32.self, field))
        guard count <= limit else {
            throw .malformed(from: source, "\(field) has \(count) bytes, the limit is \(limit)")
        }
        return Array(try take(count, field))
    }

    mutating func text(_ field: String, limit: Int) throws(TransportError) -> String {
        let blob = try blob(field, limit: limit)
        guard let text = String(validating: blob, as: UTF8.self) else {
            throw .malformed(from: source, "\(field) is not UTF-8")
        }
        return text
    }

    /// Nothing may follow the last field.
    func finish() throws(TransportError) {
        guard remainingCount == 0 else {
            throw .malformed(from: source, "\(remainingCount) bytes follow the last field")
        }
    }
}
