/// A set of byte values.
struct ByteSet: Hashable, Sendable {
    private var words: SIMD4<UInt64> = .zero

    init() {}
    init(_ ranges: ClosedRange<UInt8>...) {
        for range in ranges { for byte in range { insert(byte) } }
    }
    init(_ characters: String) { for byte in characters.utf8 { insert(byte) } }
    init(byte: UInt8) { insert(byte) }

    mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
    func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }

    static let digits = ByteSet("0123456789")

    /// Bytes that no UTF-8 text holds; each stands for a token of a chat format.
    static let markers: [UInt8] = [0xC0, 0xC1] + Array(0xF5 ... 0xFF)
}
