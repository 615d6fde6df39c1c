/// What is wrong with the files of a checkpoint, in one line.
///
/// Each message names the file, the tensor, the value, and the limit with its origin.
public enum CheckpointError: Error, Equatable, CustomStringConvertible {
    /// A file cannot be used: its name and the fact.
    case file(String, fact: String)
    /// A tensor cannot be used: its file, its name and the fact.
    case tensor(file: String, name: String, fact: String)

    /// The one line that a program prints.
    public var description: String {
        switch self {
        case .file(let file, let fact): "\(file): \(fact)"
        case .tensor(let file, let name, let fact): "\(file): tensor \(name): \(fact)"
        }
    }
}
