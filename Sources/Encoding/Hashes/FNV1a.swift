/// The 64-bit FNV-1a hash: tells values apart that were mixed up by mistake, and protects nothing.
///
/// The same bytes give the same hash on every machine and in every run.
///
/// Source: Fowler, Noll, Vo; RFC 9923.
public struct FNV1a: Hashable, Sendable {
    @usableFromInline var state: UInt64 = 0xcbf2_9ce4_8422_2325

    /// The hash of what was added so far.
    @inlinable
    public var value: UInt64 { state }

    /// The hash of nothing.
    @inlinable
    public init() {}

    /// The hash of these bytes.
    @inlinable
    public static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash = FNV1a()
        for byte in bytes { hash.add(UInt64(byte)) }
        return hash.value
    }

    /// Adds a byte, or a whole word in one step.
    @inlinable
    public mutating func add(_ word: UInt64) { state = (state ^ word) &* 0x100_0000_01b3 }
}
