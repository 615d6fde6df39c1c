public import Topology

/// The job at one moment, as `apus launch` and `apus status` show it.
public struct JobSnapshot: Hashable, Codable, Sendable {
    /// How far a rank is that leaves on purpose.
    enum Drain: String, Hashable, Codable, Sendable {
        /// The others read its experts.
        case leaving
        /// It is away.
        case left
    }

    /// One rank.
    public struct Member: Hashable, Codable, Sendable {
        /// The rank.
        public var rank: Rank
        /// Where it is on its way; `join` while it has not been heard of.
        public var phase: Phase
        /// How far it is inside the phase.
        public var progress: PhaseProgress?
        /// The machine, empty while not heard of.
        public var node = ""
        /// The process, 0 while not heard of.
        public var pid: Int32 = 0
        /// Since it was last heard.
        package var silentSeconds: Double?
        /// What it last reported.
        public var statistics: RankStatistics?
        /// Tokens for its experts lately over those of the mean rank of its group; nil where they
        /// are not counted.
        package var loadRatio: Double?
        /// Which part of the work it does; nil where every rank does all of it.
        package var role: RankRole?
        /// What last went wrong with it.
        package var lastError: String?
        /// Why the job goes on without it; nil for a rank that takes part.
        public var loss: String?
        /// Whether it leaves on purpose, or left so; nil for a rank that nobody drained.
        var drain: Drain?
        /// Whether its launcher is to start it again after it left; nil where it is not.
        var isRecalled: Bool?

        /// Why it does not serve as others do, as tables say it.
        var absence: String? {
            if let loss { return drain == .left ? loss : "lost: \(loss)" }
            return drain == .leaving ? "leaves: the others read its experts" : nil
        }

        /// The rank as tables call it: with its role, if it has one.
        var title: String { "\(rank.rawValue)" + (role.map { " \($0)" } ?? "") }
    }

    /// Columns that the titles of its ranks take in a table.
    var titleWidth: Int { max(6, (members.map(\.title.count).max() ?? 0) + 2) }

    /// The epoch of the job's map of experts.
    public var epoch: UInt64
    /// The phase the job is in: that of its slowest rank.
    public var phase: Phase
    /// Time left for the phase; nil when there is no limit.
    package var secondsLeft: Double?
    /// Every rank, in order.
    public var members: [Member]
    /// The ranks that a coordinator which takes the job over waits for; nil for another.
    public var awaited: [Rank]?
    /// Whether ranks prepare for an epoch, or are about to take part in one: none may leave before
    /// that is over; nil where they do not.
    var isChanging: Bool?
    /// Why the job is over, if it is.
    public var end: JobEnd?
}
