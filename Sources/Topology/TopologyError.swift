/// What a topology file, a load table or groups of ranks can be wrong about.
public enum TopologyError: Error, Equatable, CustomStringConvertible {
    /// A topology file that cannot be read or does not describe a set of nodes.
    case file(path: String, reason: String)
    /// Loads or counts that expert balancing cannot work with.
    case balancing(String)
    /// Groups of ranks that cannot be.
    case groups(String)

    /// The fact, the value and the limit, in one line.
    public var description: String {
        switch self {
        case .balancing(let reason), .groups(let reason): reason
        case .file(let path, let reason): "\(path): \(reason)"
        }
    }
}

extension TopologyError: ProgramError {
    /// Bad input: files and tables come from the user.
    public var exitStatus: ExitStatus { .badInput }
}
