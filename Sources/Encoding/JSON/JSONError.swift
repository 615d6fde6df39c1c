/// Why bytes are no JSON document, at one byte position.
public struct JSONError: Error, Hashable, CustomStringConvertible {
    /// The index of the byte, from 0.
    public let position: Int
    /// What is wrong there.
    public let reason: String

    /// An error at this byte.
    public init(position: Int, reason: String) {
        self.position = position
        self.reason = reason
    }

    /// The position and the reason, in one line.
    public var description: String { "not JSON at byte \(position): \(reason)" }
}
