public import Topology

/// What a worker learns when it is let in.
public struct Welcome: Hashable, Codable, Sendable {
    /// Counts changes of membership, from 1.
    public var epoch: Int
    /// How many ranks the job has.
    public var rankCount: Int
    /// The coordinator's release.
    public var version: String

    /// States the job.
    public init(epoch: Int, rankCount: Int, version: String = ApusVersion.current) {
        self.epoch = epoch
        self.rankCount = rankCount
        self.version = version
    }
}
