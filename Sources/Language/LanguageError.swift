/// What is wrong with a tokenizer, a chat template or a request for a token, in one line.
public enum LanguageError: Error, Equatable, CustomStringConvertible {
    /// A file cannot be used: its name and the fact.
    case file(String, fact: String)
    /// A request asks for what the vocabulary or the limits do not allow.
    case request(String)

    /// The one line that a program prints.
    public var description: String {
        switch self {
        case .file(let file, let fact): "\(file): \(fact)"
        case .request(let fact): fact
        }
    }
}
