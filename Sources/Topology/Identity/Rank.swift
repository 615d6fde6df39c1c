/// One worker process, numbered `0 ..< rankCount`.
public struct Rank: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0.
    public let rawValue: Int

    /// Ranks of one job: beyond this every rank's table of the others is larger than the memory it
    /// describes.
    public static let maximumCount = 1024

    /// Names the rank with this number.
    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders ranks by number.
    public static func < (a: Rank, b: Rank) -> Bool { a.rawValue < b.rawValue }
}

extension Rank: CustomStringConvertible, ExpressibleByIntegerLiteral {
    /// Lets a literal stand for a rank in tests and tables.
    public init(integerLiteral value: Int) { self.init(rawValue: value) }

    /// `rank 3`, as every message names it.
    public var description: String { "rank \(rawValue)" }
}
