/// Why a tokenizer could not be made from its files.
public struct TokenizerError: Error, Equatable, CustomStringConvertible {
    /// The file, as it was named by the caller.
    public let file: String
    /// The fact, the value and the limit, in one line.
    public let message: String

    public init(file: String, message: String) {
        self.file = file
        self.message = message
    }

    public var description: String { "\(file): \(message)" }
}
