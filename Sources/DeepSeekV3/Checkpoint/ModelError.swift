/// What is wrong with a checkpoint, a configuration or a request, in one line.
///
/// Each message names the file, the tensor or key, the value, and the limit with its origin.
public enum ModelError: Error, Equatable, CustomStringConvertible {
    /// A file cannot be used: its name and the fact.
    case file(String, fact: String)
    /// A tensor cannot be used: its file, its name and the fact.
    case tensor(file: String, name: String, fact: String)
    /// A key of `config.json` has a value that describes no model.
    case configuration(file: String, key: String, fact: String)
    /// A request asks for what the model does not have.
    case request(String)

    /// The one line that a program prints.
    public var description: String {
        switch self {
        case .file(let file, let fact): "\(file): \(fact)"
        case .tensor(let file, let name, let fact): "\(file): tensor \(name): \(fact)"
        case .configuration(let file, let key, let fact): "\(file): \(key): \(fact)"
        case .request(let fact): fact
        }
    }
}

/// Text from a hostile file, cut and cleaned so that it stays one short line.
func printable(_ text: String, limit: Int = 80) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        guard result.unicodeScalars.count < limit else { return result + "..." }
        let clean = scalar.value >= 0x20 && scalar.properties.generalCategory != .control
        result.unicodeScalars.append(clean ? scalar : "?")
    }
    return result
}
