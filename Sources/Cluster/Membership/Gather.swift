public import Topology

/// An all-gather of some ranks, or of all.
public struct Gather: Hashable, Codable, Sendable {
    /// What is exchanged; the same on all members.
    public var label: String
    /// The ranks that take part, in the order of their blobs; empty is every rank of the job.
    public var members: [Rank]

    /// The epoch of the ranks that take part; in another it is void.
    public var epoch: UInt64

    /// An all-gather of the stated ranks.
    public init(label: String, members: [Rank] = [], epoch: UInt64 = ExpertMap.firstEpoch) {
        self.label = label
        self.epoch = epoch
        self.members = members
    }
}
