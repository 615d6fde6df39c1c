/// One block of a cache: the same number in every layer.
public struct BlockID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0.
    public let rawValue: Int32

    /// Names the block with this number.
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// Orders blocks by number.
    public static func < (a: BlockID, b: BlockID) -> Bool { a.rawValue < b.rawValue }
}
