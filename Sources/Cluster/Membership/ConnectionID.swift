/// One connection to the coordinator, numbered as they come.
public struct ConnectionID: RawRepresentable, Hashable, Sendable {
    /// The number.
    public let rawValue: Int

    /// Names the connection with this number.
    public init(rawValue: Int) { self.rawValue = rawValue }
}
