public import Topology

/// What a cluster can be refused or ended for.
///
/// Each case is one line for people.
public enum ClusterError: ProgramError, Equatable, Sendable, CustomStringConvertible {
    /// The job file, the topology or an argument cannot be used: `ExitStatus.badInput`.
    case badInput(String)
    /// A namespace, device or process that the lab or launcher would have to touch is not its own.
    case notOurs(String)
    /// A program we called failed; its own words follow.
    case command(String)
    /// The coordinator would not have this worker; the reason names the field that differs.
    case refused(String)
    /// The job is over: a rank was lost, a deadline passed, or someone asked for the end.
    case ended(JobEnd)
    /// A wait was for ranks of an epoch, and another epoch has begun.
    case superseded(epoch: UInt64, by: UInt64)
    /// A wait was for ranks of an epoch that was to come, and will not.
    case abandoned(epoch: UInt64)
    /// A wait of this process passed its deadline; what it waited for follows.
    case deadline(String)

    /// The fact in one line.
    public var description: String {
        switch self {
        case .badInput(let words), .notOurs(let words), .command(let words), .refused(let words),
            .deadline(let words):
            words
        case .superseded(let epoch, let next): "epoch \(epoch) is over: epoch \(next) has begun"
        case .abandoned(let epoch): "epoch \(epoch) will not come"
        case .ended(let end): end.description
        }
    }

    /// What a program that fails with this error exits with.
    public var exitStatus: ExitStatus {
        switch self {
        case .badInput, .notOurs, .refused: .badInput
        case .command: .failed
        case .deadline, .superseded, .abandoned: .lost
        case .ended(let end): end.exitStatus
        }
    }
}
