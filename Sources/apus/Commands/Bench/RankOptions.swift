public import ArgumentParser
import Cluster
import Foundation
public import Topology
import Transport

/// The ranks of a benchmark: started here, or started by a launcher and joined.
struct RankOptions: ParsableArguments {
    @Option(help: "Start this many ranks here; not needed under mpirun, srun or apus lab run.")
    var ranks = 2

    @Option(
        help: """
            auto (shm inside a node; between nodes rdma where all have it, else tcp), shm, tcp, \
            ucx, rdma or loopback.
            """)
    var transport = FabricConfiguration.Transport.auto

    @Option(help: "Network or RDMA devices to use, comma-separated.")
    var device: String?

    @Option(help: "Pretended node of each rank, comma-separated, as 0,0,1,1: TCP between them.")
    var nodes: String?

    /// Runs `body` on every rank: in this process if a launcher started it, else in children.
    ///
    /// Only rank 0 may print to standard output.
    func onEveryRank(_ body: (any Fabric) throws -> Void) throws {
        do {
            let variables = ProcessInfo.processInfo.environment
            guard let launch = try LaunchEnvironment.detect(in: variables) else {
                return try RankProcesses(count: ranks).run()
            }
            if launch.launcher == "apus" { ParentProcess.followIntoDeath() }
            if variables[RankProcesses.bindVariable] != nil { try Cores.bind(launch.rank) }
            let exchange = try exchange(launch)
            let fabric = try makeFabric(try configuration(launch), exchange: exchange)
            defer { fabric.close() }
            try body(fabric)
        } catch let error as TransportError {
            StandardStream.error.say("apus: \(error)\n")
            throw ExitCode(error.exitStatus)
        }
    }

    private func exchange(_ launch: LaunchEnvironment) throws -> any AddressExchange {
        let deadline = Deadline(.seconds(60), "join")
        guard launch.launcher == "apus" else { return try launch.join(deadline: deadline) }
        return try TCPExchange.connect(
            to: launch.rendezvous, rank: launch.rank, rankCount: launch.rankCount,
            token: launch.token, deadline: deadline)
    }

    private func configuration(_ launch: LaunchEnvironment) throws -> FabricConfiguration {
        var configuration = FabricConfiguration(
            rank: launch.rank, rankCount: launch.rankCount, transport: transport, device: device)
        configuration.nodes = nodes?.split(separator: ",").compactMap { Int($0) }
        return configuration
    }

    func validate() throws {
        guard (1 ... FabricConfiguration.maximumRankCount).contains(ranks) else {
            throw ValidationError("--ranks \(ranks) is outside 1...1024")
        }
    }
}

extension TransportKind: ExpressibleByArgument {}
