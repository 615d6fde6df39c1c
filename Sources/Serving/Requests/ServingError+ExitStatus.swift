public import Topology

extension ServingError: ProgramError {
    /// What the user gave is told from what a server or its engine did.
    public var exitStatus: ExitStatus {
        switch self {
        case .configuration, .invalidRequest: .badInput
        case .rankLost: .lost
        default: .failed
        }
    }
}
