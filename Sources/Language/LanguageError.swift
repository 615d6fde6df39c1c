/// What is wrong with a tokenizer, a chat template or a request for a token, in one line.
public enum LanguageError: Error, Equatable, CustomStringConvertible {
    /// A file cannot be used: its name and the fact.
    case file(String, fact: String)
    /// A request asks for what the vocabulary or the limits do not allow.
    case request(String)

    /// Why a checkpoint's chats cannot be written, and what can be done.
    case chat(String)

    /// The one line that a program prints.
    public var description: String {
        switch self {
        case .file(let file, let fact): "\(file): \(fact)"
        case .request(let fact): fact
        case .chat(let fact):
            "\(fact); --chat-style, or chatStyle in a job file, names whose rules to follow: "
                + ChatTemplate.Style.allCases.map(\.rawValue).joined(separator: ", ")
        }
    }
}
