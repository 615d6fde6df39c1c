package import Topology

/// Why there is no plan: one line with the file, the field, the value and the limit.
package enum PlanError: Error, Equatable, CustomStringConvertible {
    /// A topology file lacks what a plan needs.
    case topology(file: String, field: String, fact: String)
    /// A model that cannot be planned.
    case model(file: String, key: String, fact: String)
    /// Sizes of a plan that do not fit the model or the cluster.
    case sizes(option: String, fact: String)

    /// The one line that a program prints.
    package var description: String {
        switch self {
        case .topology(let file, let field, let fact): "\(file): \(field) \(fact)"
        case .model(let file, let key, let fact): "\(file): \(key): \(fact)"
        case .sizes(let option, let fact): "\(option) \(fact)"
        }
    }
}

extension PlanError: ProgramError {
    /// Bad input: files and options come from the user.
    package var exitStatus: ExitStatus { .badInput }
}
