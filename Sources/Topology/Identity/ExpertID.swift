/// One routed expert of the model: a logical one, however many copies of it are loaded.
public struct ExpertID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0, as the checkpoint names its tensors.
    public let rawValue: Int

    /// Names the expert with this number.
    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders experts by number.
    public static func < (a: ExpertID, b: ExpertID) -> Bool { a.rawValue < b.rawValue }
}

extension ExpertID: CustomStringConvertible, ExpressibleByIntegerLiteral {
    /// Lets a literal stand for an expert in tests and tables.
    public init(integerLiteral value: Int) { self.init(rawValue: value) }

    /// `expert 7`, as every message names it.
    public var description: String { "expert \(rawValue)" }
}

/// One loaded copy of a routed expert.
///
/// Copies are numbered rank by rank, so those of one rank are contiguous.
public struct PhysicalExpertID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0 over all ranks.
    public let rawValue: Int

    /// Names the copy with this number.
    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders copies by number, which is also by rank.
    public static func < (a: PhysicalExpertID, b: PhysicalExpertID) -> Bool {
        a.rawValue < b.rawValue
    }
}

extension PhysicalExpertID: CustomStringConvertible, ExpressibleByIntegerLiteral {
    /// Lets a literal stand for a copy in tests and tables.
    public init(integerLiteral value: Int) { self.init(rawValue: value) }

    /// `physical expert 17`, as every message names it.
    public var description: String { "physical expert \(rawValue)" }
}
