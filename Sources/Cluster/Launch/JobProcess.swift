import Topology

/// A process of a job.
enum JobProcess: Hashable, Sendable, CustomStringConvertible {
    /// The one that lets ranks in and serves the API.
    case coordinator
    /// The worker of a rank.
    case rank(Rank)

    /// `coordinator` or `rank 3`, as every message names it.
    var description: String {
        switch self {
        case .coordinator: "coordinator"
        case .rank(let rank): "\(rank)"
        }
    }

    /// The name of its log in the job's folder.
    var logName: String {
        switch self {
        case .coordinator: "coordinator"
        case .rank(let rank): "rank-\(rank.rawValue)"
        }
    }
}
