public import Topology

/// What a worker learns when it is let in.
public struct Welcome: Hashable, Codable, Sendable {
    /// The epoch of the job's map of experts.
    public var epoch: UInt64
    /// How many ranks the job has.
    public var rankCount: Int
    /// Who takes part while this rank prepares to come back, or the other ranks of its group where
    /// none of them does; nil for a rank of the job's start.
    public var returnsTo: JobEpoch?
    /// How the ranks of the job compute each kind of product, for one that comes back to them; nil
    /// for a rank of the job's start, which agrees on it with the others.
    public var kernels: [String: String]?
    /// The coordinator's release.
    public var version: String

    /// States the job.
    public init(epoch: UInt64, rankCount: Int, version: String = ApusVersion.current) {
        self.epoch = epoch
        self.rankCount = rankCount
        self.version = version
    }
}
