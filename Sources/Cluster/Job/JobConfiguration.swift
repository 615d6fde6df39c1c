public import Topology

/// A job: what its ranks do, how many they are, and how patient everybody is.
///
/// What a file in `cluster/` means, with every default filled in; `JobFile` is what it says.
public struct JobConfiguration: Hashable, Sendable {
    /// What the job and its folder are called: letters, digits and dashes.
    public var name = "local"
    /// What the ranks do.
    public var work = Work.serve(ServingWork(model: ""))
    /// Which ranks work together.
    ///
    /// Default one rank.
    public var groups = RankGroupMap.one(.serve, rankCount: 1)
    /// Compute threads of each rank.
    ///
    /// Default 1.
    public var threads = 1
    /// How bytes travel between ranks.
    ///
    /// Default auto.
    public var transport = TransportKind.auto
    /// Devices the transport may use, comma-separated; empty leaves it the choice.
    public var device = ""
    /// The network of control and data: an IPv4 subnet as `10.1.0.0/16`, of which each host finds
    /// its own address, or the name of a device; empty leaves it to what hosts reach.
    package var network = ""
    /// A file of `topology/`: the ranks run in a lab built from it, as many as it says; empty for
    /// none.
    public var lab = ""
    /// Where the coordinator listens for workers.
    ///
    /// Default 127.0.0.1, any free port.
    public var control = Endpoint(address: "127.0.0.1", port: 0)
    /// Where the HTTP API listens.
    ///
    /// Default 127.0.0.1:8080; port 0 takes any free one.
    public var http = Endpoint(address: "127.0.0.1", port: 8080)
    /// The file that holds the job's secret, for processes that nobody hands it; empty for none.
    public var tokenFile = ""
    /// Machines behind ssh that run the ranks, in order; empty for this machine.
    public var hosts: [JobHost] = []
    /// How the launcher reaches those machines.
    package var ssh = SecureShell()
    /// Where those machines have the programs from.
    package var programs = ProgramSource.path
    /// How long each phase may take.
    public var deadlines = Deadlines()
    /// What a rank may hold.
    public var limits = Limits()

    /// Every default.
    public init() {}

    /// Worker processes of all groups.
    public var ranks: Int { groups.rankCount }

    /// What the job serves; nil of a job that does not.
    public var serving: ServingWork? {
        get {
            if case .serve(let serving) = work { return serving }
            return nil
        }
        set { if let newValue { work = .serve(newValue) } }
    }

    /// Whether the other ranks go on without one that is lost.
    public var survivesLosses: Bool { serving?.onLostRank == .goOn }

    /// How long ranks keep what they hold, and wait for another coordinator, when theirs is lost.
    ///
    /// Zero for a job that ends when a rank is lost.
    public var coordinatorLimit: Duration {
        survivesLosses ? .seconds(deadlines.coordinatorSeconds) : .zero
    }

    /// Gives the job's only group another number of ranks.
    ///
    /// - Throws: `ClusterError.badInput` for a job of several groups, whose file says how many
    ///   ranks each has.
    public mutating func resize(ranks: Int) throws(ClusterError) {
        guard groups.groups.count == 1, var group = groups.groups.first else {
            let names = groups.groups.map(\.name).joined(separator: ", ")
            throw .badInput(
                "ranks \(ranks) for a job of groups (\(names)): its file says how many each has")
        }
        group.rankCount = ranks
        do {
            groups = try RankGroupMap([group])
        } catch {
            throw .badInput("ranks \(ranks) is not 1 to \(Rank.maximumCount)")
        }
    }

    /// Time limits, seconds.
    public struct Deadlines: Codable, Hashable, Sendable {
        /// For every rank to arrive.
        ///
        /// Default 60.
        public var joinSeconds = 60.0
        /// For ranks to meet on the data path.
        ///
        /// Default 60.
        public var connectSeconds = 60.0
        /// For reading the model.
        ///
        /// Default 1800.
        package var loadSeconds = 1800.0
        /// For the steps whose answers nobody sees.
        ///
        /// Default 120.
        package var warmUpSeconds = 120.0
        /// Silence after which a rank is lost.
        ///
        /// Default 5, and 1.75 where the job goes on without the rank; ranks share cores, so not
        /// below 1.
        public var silenceSeconds = 5.0
        /// The default of a job that goes on: a loss is known within two seconds, and costs little.
        static let survivableSilence = 1.75
        /// For one step of all ranks.
        ///
        /// Default 60.
        public var stepSeconds = 60.0
        /// For requests under way when the job is asked to end.
        ///
        /// Default 10.
        public var drainSeconds = 10.0
        /// For another coordinator when that of a job which goes on is lost; 0 ends the job at
        /// once.
        ///
        /// Default 30.
        public var coordinatorSeconds = 30.0
    }

    /// What a rank may hold.
    public struct Limits: Codable, Hashable, Sendable {
        /// Tokens whose latents are kept on each rank.
        ///
        /// Default 65536.
        public var cacheTokens = 65536
        /// Positions of one sequence; 0 takes the model's.
        ///
        /// Default 0.
        public var contextTokens = 0
    }
}
