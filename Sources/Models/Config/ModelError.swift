/// What is wrong with a model's configuration or a request to a model, in one line.
///
/// Each message names the key, the value, and the limit with its origin.
public enum ModelError: Error, Equatable, CustomStringConvertible {
    /// A key of `config.json` has a value that describes no model.
    case configuration(file: String, key: String, fact: String)
    /// A request asks for what the model does not have.
    case request(String)

    /// The one line that a program prints.
    public var description: String {
        switch self {
        case .configuration(let file, let key, let fact): "\(file): \(key): \(fact)"
        case .request(let fact): fact
        }
    }
}
