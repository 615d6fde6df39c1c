public import Topology

extension ServingError: ProgramError {
    /// Settings are told from what a server or its engine did.
    public var exitStatus: ExitStatus {
        if case .configuration = self { return .badInput }
        return .failed
    }
}
