import Encoding
public import Topology

/// Why a job is over.
///
/// It is sent to every rank, logged by all, and becomes the exit code.
public enum JobEnd: Hashable, Codable, Sendable, CustomStringConvertible {
    /// Every rank did all of its work.
    case done
    /// Someone asked for it: Ctrl-C, SIGTERM, `apus stop`.
    case stopped
    /// A rank left on purpose: the job goes on without it, and only the rank itself ends.
    case drained(rank: Rank)
    /// A rank left or fell silent.
    case lost(rank: Rank, phase: Phase, epoch: UInt64, reason: String)
    /// A rank was not through a phase when its time was up.
    case late(rank: Rank, phase: Phase, deadline: Duration, lastError: String?)
    /// A rank said itself that it cannot go on.
    case failed(rank: Rank, phase: Phase, reason: String)
    /// The coordinator fell silent or closed the connection.
    case coordinatorLost(reason: String)
    /// The process that started the job ended without asking for the job's end.
    case launcherLost

    /// The fact in one line.
    public var description: String {
        switch self {
        case .done: return "the job is done"
        case .stopped: return "the job was stopped"
        case .drained(let rank): return "\(rank) was drained: the job goes on without it"
        case .lost(let rank, let phase, let epoch, let reason):
            return "\(rank) was lost in phase \(phase), epoch \(epoch): \(reason)"
        case .late(let rank, let phase, let deadline, let lastError):
            let error = lastError.map { "; its last error: \($0)" } ?? ""
            return "\(rank) did not finish phase \(phase) within \(deadline.seconds) s\(error)"
        case .failed(let rank, let phase, let reason):
            return "\(rank) failed in phase \(phase): \(reason)"
        case .coordinatorLost(let reason): return "the coordinator was lost: \(reason)"
        case .launcherLost:
            return "the launcher was lost: the process that started the job is gone"
        }
    }

    /// What a program that sees this end exits with.
    public var exitStatus: ExitStatus {
        switch self {
        case .done, .stopped, .drained: .done
        // What stops a rank from starting is what it was given; what stops it later is not.
        case .failed(_, let phase, _): phase >= .ready ? .failed : .badInput
        case .lost, .late, .coordinatorLost, .launcherLost: .lost
        }
    }
}
