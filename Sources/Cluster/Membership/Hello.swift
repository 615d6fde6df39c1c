public import Topology

/// Who connects.
public struct Hello: Hashable, Codable, Sendable {
    /// The rank a worker claims; nil is an observer, who sees snapshots and may ask for the end.
    public var rank: Rank?
    /// What the worker is about to run.
    ///
    /// Observers are not compared.
    public var identity: JobIdentity?
    /// The process, for messages.
    public var pid: Int32
    /// The machine, for messages.
    public var node: String
    /// What a worker keeps of a job whose coordinator was lost; nil of one that starts.
    public var held: HeldEpoch?
    /// Where a worker gives the model's files to hosts that have none, the likeliest address first;
    /// nil of one that does not.
    public var weights: [Endpoint]?
    /// How a worker can compute; nil of an observer.
    public var kernels: KernelOffer?

    /// States who connects.
    public init(rank: Rank?, identity: JobIdentity?, pid: Int32, node: String) {
        self.rank = rank
        self.identity = identity
        self.pid = pid
        self.node = node
    }
}
