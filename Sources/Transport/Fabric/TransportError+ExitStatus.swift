public import Topology

extension TransportError: ProgramError {
    /// A lost rank or a missed deadline is told from what the user gave.
    public var exitStatus: ExitStatus {
        switch self {
        case .rankLost, .deadline: .lost
        default: .badInput
        }
    }
}
