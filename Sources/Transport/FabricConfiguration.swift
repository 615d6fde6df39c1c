public import Topology

/// What a fabric is made of, and how patient it is.
public struct FabricConfiguration: Sendable {
    /// Which way bytes may take.
    public typealias Transport = TransportKind

    /// This rank.
    public var rank: Rank
    /// How many ranks there are.
    public var rankCount: Int
    /// Which way bytes may take.
    public var transport: Transport
    /// Network or RDMA devices to use, comma-separated; nil leaves the choice to the library.
    public var device: String?
    /// How long joining may take, all ranks together.
    public var joinLimit: Duration = .seconds(60)
    /// Silence of a rank after which it is lost. Must be far above a time slice: ranks share cores.
    public var silenceLimit: Duration = .seconds(5)
    /// What errors call each rank, for a fabric of some ranks of a job; nil calls them as they are
    /// numbered here.
    public var names: [Rank]?
    /// The node of each rank, instead of asking the kernel which ranks share memory. For tests
    /// and loopback: between two nodes stores do not reach, and bytes travel by put.
    public var nodes: [Int]?
    /// The clock of deadlines, waits, heartbeats and records. Virtual time needs transport
    /// `loopback`: the kernel's sockets and devices know only the machine's.
    public var clock: FabricClock = .system
    /// What carries bytes between nodes in virtual time, with transport `loopback`; nil for none.
    var simulation: SimulatedMembers?
    /// Threads that each rank computes with, where they wait for each other in every step. If the
    /// machine has a core for each thread of its ranks, a wait polls for a millisecond: it is for
    /// a rank that computes at most that long, and waking from sleep would come on top.
    public var threadsPerRank: Int?
    /// The time a wait polls before it sleeps; nil chooses by the number of ranks per core.
    var pollLimit: Duration?

    /// A configuration with the stated defaults.
    public init(rank: Rank, rankCount: Int, transport: Transport = .auto, device: String? = nil) {
        self.rank = rank
        self.rankCount = rankCount
        self.transport = transport
        self.device = device
    }

    /// Ranks of one fabric.
    public static let maximumRankCount = Rank.maximumCount

    /// Checks each field against its limit.
    public func validate() throws(TransportError) {
        guard (1 ... Self.maximumRankCount).contains(rankCount) else {
            throw .limit(
                "rank count", value: rankCount, limit: Self.maximumRankCount,
                origin: "FabricConfiguration.maximumRankCount")
        }
        guard (0 ..< rankCount).contains(rank.rawValue) else {
            throw .limit("rank", value: rank.rawValue, limit: rankCount - 1, origin: "rank count")
        }
        if let nodes, nodes.count != rankCount {
            throw .limit("nodes listed", value: nodes.count, limit: rankCount, origin: "rank count")
        }
        if let names, names.count != rankCount {
            throw .limit("names listed", value: names.count, limit: rankCount, origin: "rank count")
        }
        guard !clock.isVirtual || transport == .loopback else {
            throw .unavailable(
                "virtual time needs transport loopback; transport \(transport.rawValue) takes the "
                    + "machine's clock")
        }
        guard silenceLimit >= .milliseconds(100) else {
            throw .unavailable("silence limit \(silenceLimit) is below 100 ms (a time slice)")
        }
    }
}
