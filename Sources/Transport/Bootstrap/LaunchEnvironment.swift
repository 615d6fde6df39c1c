public import Topology

/// What a launcher told this process through its environment.
///
/// Known are, in this order, our own variables, torchrun's, Open MPI's and Slurm's. What a launcher
/// does not tell (Open MPI names no address) `APUS_RENDEZVOUS` and `APUS_TOKEN` may add; so may
/// `APUS_RENDEZVOUS=file:DIRECTORY` where nodes share a file system and open no ports.
public struct LaunchEnvironment: Equatable, Sendable {
    /// What started the process: `apus`, `torchrun`, `Open MPI` or `Slurm`.
    public var launcher: String
    /// This rank.
    public var rank: Rank
    /// How many ranks there are.
    public var rankCount: Int
    /// Where rank 0 listens, `host:port`; or `file:` and the run's own directory.
    public var rendezvous: String
    /// What ranks show when they join. Without `APUS_TOKEN` it is made of the job's number, which
    /// keeps runs apart but keeps no secret.
    public var token: String

    /// Reads the variables; nil where no launcher set any.
    ///
    /// - Throws: `unavailable` with the variable's name and value when one is not a number, or when
    ///   no address follows from what is set.
    public static func detect(
        in variables: [String: String]
    ) throws(TransportError) -> LaunchEnvironment? {
        for source in sources {
            guard variables[source.rank] != nil, variables[source.rankCount] != nil else {
                continue
            }
            return try source.read(variables)
        }
        return nil
    }

    /// Joins the run through a rendezvous that rank 0 serves, or through files.
    public func join(deadline: Deadline) throws(TransportError) -> any AddressExchange {
        guard rendezvous.hasPrefix(Self.filePrefix) else {
            return try TCPExchange.join(
                rendezvous: rendezvous, rank: rank, rankCount: rankCount, token: token,
                deadline: deadline)
        }
        return try FileExchange(
            directory: String(rendezvous.dropFirst(Self.filePrefix.count)), rank: rank,
            rankCount: rankCount, token: token)
    }

    private static let filePrefix = "file:"

    /// The variables of one launcher.
    private struct Source: Sendable {
        let launcher: String
        let rank: String
        let rankCount: String
        let job: [String]
        let address: @Sendable ([String: String]) -> String?

        func read(_ variables: [String: String]) throws(TransportError) -> LaunchEnvironment {
            let rank = try number(self.rank, variables)
            let rankCount = try number(self.rankCount, variables)
            guard rankCount > 0, rank < rankCount else {
                throw .limit(
                    self.rank, value: rank, limit: rankCount - 1, origin: self.rankCount)
            }
            let name = job.compactMap { variables[$0] }.joined(separator: ".")
            guard let address = variables["APUS_RENDEZVOUS"] ?? address(variables) else {
                throw .unavailable(
                    "\(launcher) names no address for rank 0: set APUS_RENDEZVOUS=host:port")
            }
            return LaunchEnvironment(
                launcher: launcher, rank: Rank(rawValue: rank), rankCount: rankCount,
                rendezvous: complete(address, job: name),
                token: variables["APUS_TOKEN"]
                    ?? String("apus-\(name)".prefix(RendezvousToken.byteCount)))
        }

        /// An address with a port of the job's, a directory with a folder of its own.
        private func complete(_ address: String, job: String) -> String {
            guard !address.hasPrefix(filePrefix) else {
                return "\(address)/apus-\(job.replacing("/", with: "-"))"
            }
            // Several colons without brackets are an IPv6 address, and no port.
            let isBareIPv6 = address.count(where: { $0 == ":" }) > 1 && !address.contains("[")
            let hasPort = address.contains(":") && !address.hasSuffix("]") && !isBareIPv6
            return hasPort ? address : "\(written(address)):\(port(of: job))"
        }

        private func number(
            _ name: String, _ variables: [String: String]
        ) throws(TransportError) -> Int {
            let text = variables[name] ?? ""
            guard let value = Int(text), value >= 0 else {
                throw .unavailable("\(name)=\(text) is not a count (\(launcher))")
            }
            return value
        }

        /// The same on all ranks of a job, and likely another for another job; below the range
        /// from which Linux takes ports by itself (32768).
        private func port(of job: String) -> Int {
            let hash = job.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
            return 20_000 + Int(hash % 12_000)
        }
    }

    /// A host as it stands before a port.
    private static func written(_ host: String) -> String {
        host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
    }

    private static let sources = [
        Source(
            launcher: "apus", rank: "APUS_RANK", rankCount: "APUS_RANK_COUNT", job: [],
            address: { _ in nil }),
        Source(
            launcher: "torchrun", rank: "RANK", rankCount: "WORLD_SIZE",
            job: ["TORCHELASTIC_RUN_ID", "MASTER_PORT"],
            address: { variables in
                guard let host = variables["MASTER_ADDR"] else { return nil }
                // torchrun's own store listens at the port then: ranks meet at another.
                if variables["TORCHELASTIC_USE_AGENT_STORE"] == "True" { return host }
                return variables["MASTER_PORT"].map { "\(written(host)):\($0)" } ?? host
            }),
        Source(
            launcher: "Open MPI", rank: "OMPI_COMM_WORLD_RANK",
            rankCount: "OMPI_COMM_WORLD_SIZE", job: ["PMIX_NAMESPACE"],
            address: { variables in
                let isOneNode =
                    variables["OMPI_COMM_WORLD_LOCAL_SIZE"] == variables["OMPI_COMM_WORLD_SIZE"]
                return isOneNode ? "127.0.0.1" : nil
            }),
        Source(
            launcher: "Slurm", rank: "SLURM_PROCID", rankCount: "SLURM_NTASKS",
            job: ["SLURM_JOB_ID", "SLURM_STEP_ID"],
            address: { variables in
                guard variables["SLURM_STEP_NUM_NODES"] != "1" else { return "127.0.0.1" }
                let list = variables["SLURM_STEP_NODELIST"] ?? variables["SLURM_JOB_NODELIST"]
                return list.map(firstHost)
            }),
    ]

    /// The first name of a Slurm host list: `node[03-07,9],other` begins with `node03`.
    static func firstHost(of list: String) -> String {
        guard let bracket = list.firstIndex(of: "[") else {
            return String(list.prefix { $0 != "," })
        }
        let prefix = list[..<bracket]
        if prefix.contains(",") { return String(prefix.prefix { $0 != "," }) }
        let inside = list[list.index(after: bracket)...]
        return "\(prefix)\(inside.prefix { $0 != "," && $0 != "-" && $0 != "]" })"
    }
}
