import Glibc

// Bytes that ranks exchange beside rows: indices, counts, weights. Every access is checked against
// the span, so that a wrong offset traps here and not in somebody's memory.

extension RawSpan {
    /// The 64-bit word at a byte offset, in this machine's byte order.
    @inlinable @inline(__always)
    public func word(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset + 8 <= byteCount, "word at \(offset) of \(byteCount)")
        return unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// The number at a byte offset.
    @inlinable @inline(__always)
    public func float(at offset: Int) -> Float {
        precondition(offset >= 0 && offset + 4 <= byteCount, "float at \(offset) of \(byteCount)")
        return unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Float.self)
    }

    /// Whether `count` bytes at `offset` are those of `other` at `otherOffset`.
    public func holdsSameBytes(
        at offset: Int, as other: RawSpan, at otherOffset: Int, count: Int
    ) -> Bool {
        precondition(
            offset >= 0 && count >= 0 && offset + count <= byteCount && otherOffset >= 0
                && otherOffset + count <= other.byteCount,
            "\(count) bytes at \(offset) of \(byteCount) and \(otherOffset) of \(other.byteCount)")
        if count == 0 { return true }
        return unsafe withUnsafeBytes { mine in
            unsafe other.withUnsafeBytes { theirs in
                unsafe memcmp(
                    mine.baseAddress! + offset, theirs.baseAddress! + otherOffset, count) == 0
            }
        }
    }
}

extension MutableRawSpan {
    /// Sets the 64-bit word at a byte offset.
    @inlinable @inline(__always)
    public mutating func setWord(_ word: UInt64, at offset: Int) {
        precondition(offset >= 0 && offset + 8 <= byteCount, "word at \(offset) of \(byteCount)")
        storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
    }

    /// Sets the number at a byte offset.
    @inlinable @inline(__always)
    public mutating func setFloat(_ value: Float, at offset: Int) {
        precondition(offset >= 0 && offset + 4 <= byteCount, "float at \(offset) of \(byteCount)")
        storeBytes(of: value, toByteOffset: offset, as: Float.self)
    }

    /// Copies all of `source` to a byte offset.
    public mutating func copy(_ source: RawSpan, to offset: Int) {
        precondition(
            offset >= 0 && offset + source.byteCount <= byteCount,
            "\(source.byteCount) bytes to \(offset) of \(byteCount)")
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { bytes in
                guard let from = bytes.baseAddress, let to = target.baseAddress else { return }
                unsafe (to + offset).copyMemory(from: from, byteCount: bytes.count)
            }
        }
    }

    /// Copies words to a byte offset.
    public mutating func copy(_ words: Span<UInt64>, to offset: Int) {
        unsafe copy(words.bytes, to: offset)
    }
}

extension Span where Element: FixedWidthInteger & BitwiseCopyable {
    /// The same bytes as a raw span: integers have no padding, so reading them raw is safe.
    public var raw: RawSpan {
        @_lifetime(copy self) get { unsafe bytes }
    }
}

extension MutableSpan where Element == UInt8 {
    /// The same bytes as a raw span, to write.
    package var mutableRaw: MutableRawSpan {
        @_lifetime(&self) mutating get { unsafe mutableBytes }
    }
}
