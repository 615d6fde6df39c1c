public import Topology

extension CollectivesError: ProgramError {
    /// Bytes that no rank of this version writes are told from what the user gave.
    public var exitStatus: ExitStatus {
        if case .malformed = self { return .failed }
        return .badInput
    }
}
