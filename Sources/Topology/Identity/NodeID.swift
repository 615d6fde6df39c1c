/// One machine (or one lab namespace that plays one), numbered from 0.
public struct NodeID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0.
    public let rawValue: Int

    /// Names the node with this number.
    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders nodes by number.
    public static func < (a: NodeID, b: NodeID) -> Bool { a.rawValue < b.rawValue }
}

extension NodeID: CustomStringConvertible, ExpressibleByIntegerLiteral {
    /// Lets a literal stand for a node in tests and tables.
    public init(integerLiteral value: Int) { self.init(rawValue: value) }

    /// `node 1`, as every message names it.
    public var description: String { "node \(rawValue)" }
}
