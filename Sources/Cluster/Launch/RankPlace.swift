import Topology

/// The place of this process among the ranks of a job, as the program that started it tells.
///
/// Slurm, Open MPI, MPICH, torchrun and LeaderWorkerSet write it into the environment. The value is
/// only what they say; nothing is resolved and nobody is asked.
public struct RankPlace: Equatable, Sendable {
    /// The rank, from 0.
    public var rank: Int
    /// How many processes were started.
    package var rankCount: Int
    /// Where rank 0 runs: names and addresses, the likeliest first; empty where nobody says.
    package var hosts: [String] = []
    /// Where rank 0 shall listen; nil where nobody says.
    package var port: Int?
    /// The program that started the ranks, for messages.
    public var source: String

    /// The port of the coordinator where neither the job nor the starter names one.
    static let defaultPort = 7000

    /// Reads what the starter of this process says.
    ///
    /// A program that runs inside another is asked first: mpirun in a job of Slurm knows the ranks,
    /// and Slurm knows the hosts.
    ///
    /// - Returns: Nil where none of the known programs started this process.
    /// - Throws: `ClusterError.badInput` with the variable, its value and its limit.
    public init?(environment: [String: String]) throws(ClusterError) {
        let reader = Reader(environment)
        if environment["RANK"] != nil, environment["WORLD_SIZE"] != nil {
            self = try reader.place("RANK", "WORLD_SIZE", "RANK and WORLD_SIZE")
        } else if environment["OMPI_COMM_WORLD_RANK"] != nil {
            self = try reader.place("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI")
            if environment["OMPI_COMM_WORLD_LOCAL_SIZE"] == "\(rankCount)" {
                hosts.append("127.0.0.1")
            }
            hosts += try reader.slurmHosts()
        } else if environment["LWS_WORKER_INDEX"] != nil {
            self = try reader.place("LWS_WORKER_INDEX", "LWS_GROUP_SIZE", "LeaderWorkerSet")
            if let leader = environment["LWS_LEADER_ADDRESS"], !leader.isEmpty {
                hosts.append(leader)
            }
        } else if environment["SLURM_PROCID"] != nil, environment["SLURM_STEP_ID"] != nil {
            self = try reader.place("SLURM_PROCID", "SLURM_NTASKS", "Slurm")
            hosts += try reader.slurmHosts()
        } else if environment["PMI_RANK"] != nil {
            self = try reader.place("PMI_RANK", "PMI_SIZE", "PMI")
            if environment["MPI_LOCALNRANKS"] == "\(rankCount)" { hosts.append("127.0.0.1") }
            hosts += try reader.slurmHosts()
        } else if environment["RANK"] != nil || environment["WORLD_SIZE"] != nil {
            // One alone is refused by `place`, which names the other.
            self = try reader.place("RANK", "WORLD_SIZE", "RANK and WORLD_SIZE")
        } else {
            return nil
        }
        if let master = environment["MASTER_ADDR"], !master.isEmpty { hosts = [master] }
        // The agent of torchrun listens at MASTER_PORT itself; the next port is ours.
        let isTaken = environment["TORCHELASTIC_USE_AGENT_STORE"] == "True"
        if let port = try reader.number("MASTER_PORT", 1 ... 65534) {
            self.port = isTaken ? port + 1 : port
        }
        if rankCount == 1, hosts.isEmpty { hosts = ["127.0.0.1"] }
    }

    /// A place as it is stated.
    init(rank: Int, rankCount: Int, source: String) {
        self.rank = rank
        self.rankCount = rankCount
        self.source = source
    }

    /// Checks that as many processes were started as the job has ranks.
    ///
    /// - Throws: `ClusterError.badInput` with both numbers.
    public func check(_ job: JobConfiguration) throws(ClusterError) {
        guard rankCount == job.ranks else {
            throw .badInput(
                "\(source) started \(rankCount) ranks: the job has \(job.ranks) (ranks)")
        }
    }

    /// Reads variables, and names them in its errors.
    private struct Reader {
        let environment: [String: String]

        init(_ environment: [String: String]) { self.environment = environment }

        /// A rank below a count of ranks.
        func place(
            _ rankName: String, _ countName: String, _ source: String
        ) throws(ClusterError) -> RankPlace {
            let most = Rank.maximumCount
            guard let count = try number(countName, 1 ... most) else {
                throw .badInput("\(countName) is not set, but \(rankName) is")
            }
            guard let rank = try number(rankName, 0 ... (count - 1)) else {
                throw .badInput("\(rankName) is not set, but \(countName) is")
            }
            return RankPlace(rank: rank, rankCount: count, source: source)
        }

        func number(_ name: String, _ limit: ClosedRange<Int>) throws(ClusterError) -> Int? {
            guard let text = environment[name] else { return nil }
            guard let value = Int(text), limit.contains(value) else {
                throw .badInput(
                    "\(name) \"\(text)\" is not \(limit.lowerBound) to \(limit.upperBound)")
            }
            return value
        }

        /// Rank 0 of a step runs on the step's first node. The node of `srun` is the next guess,
        /// for nodes whose names nobody resolves.
        func slurmHosts() throws(ClusterError) -> [String] {
            if environment["SLURM_STEP_NUM_NODES"] == "1" { return ["127.0.0.1"] }
            var hosts: [String] = []
            for name in ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"] {
                guard hosts.isEmpty, let list = environment[name], !list.isEmpty else { continue }
                hosts += try HostList.expand(list, source: name).prefix(1)
            }
            if let address = environment["SLURM_LAUNCH_NODE_IPADDR"], !address.isEmpty {
                hosts.append(address)
            }
            return hosts
        }
    }
}
