public import ArgumentParser
import Cluster
import Foundation
import Topology
public import Transport

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
                return try RankGroup(count: ranks).run()
            }
            if launch.launcher == "apus" { ParentProcess.followIntoDeath() }
            if variables[RankGroup.bindVariable] != nil { try Cores.bind(launch.rank) }
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

extension FabricConfiguration.Transport: ExpressibleByArgument {}

/// Children of this process, each a rank with this program's own arguments.
struct RankGroup {
    let count: Int

    /// Tells a child that ranks outnumber the cores, so that it takes one in turn.
    static let bindVariable = "APUS_BIND"

    /// Serves the rendezvous, starts the ranks, and waits for all.
    func run() throws {
        let token = RendezvousToken.random()
        let rendezvous = try TCPRendezvous(address: "127.0.0.1:0", rankCount: count, token: token)
        defer { rendezvous.close() }
        var children: [Process] = []
        defer { for child in children where child.isRunning { child.terminate() } }
        for rank in 0 ..< count {
            let child = Process()
            child.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            child.arguments = Array(CommandLine.arguments.dropFirst())
            child.environment = ProcessInfo.processInfo.environment.merging([
                "APUS_RANK": "\(rank)", "APUS_RANK_COUNT": "\(count)",
                "APUS_RENDEZVOUS": rendezvous.address, "APUS_TOKEN": token,
            ]) { $1 }
            if count > ProcessInfo.processInfo.activeProcessorCount {
                child.environment?[Self.bindVariable] = "1"
            }
            try child.run()
            children.append(child)
        }
        if let cause = Self.waitForAll(children) {
            StandardStream.error.say("apus: \(cause)\n")
            throw ExitCode(.lost)
        }
        if let status = children.map(\.terminationStatus).first(where: { $0 != 0 }) {
            throw ExitCode(status)
        }
    }

    /// How long survivors have to say whom they miss, after the first rank failed: more than the
    /// fabric's silence limit.
    private static let patience = Duration.seconds(15)

    /// Waits for all; a rank that is stopped, or hangs, is killed once the others had their time.
    ///
    /// - Returns: Which rank a signal ended, if one did: before ranks have met, no other can say.
    private static func waitForAll(_ children: [Process]) -> String? {
        var deadline: ContinuousClock.Instant?
        var cause: String?
        var failed = 0
        var left = Array(children.indices)
        while !left.isEmpty {
            usleep(20_000)
            let ended = left.filter { !children[$0].isRunning }
            left.removeAll(where: ended.contains)
            if let hit = ended.first(where: { children[$0].terminationReason == .uncaughtSignal }) {
                let signal = children[hit].terminationStatus
                cause = cause ?? "rank \(hit) was ended by signal \(signal)"
            }
            if deadline == nil,
                let first = ended.first(where: { children[$0].terminationStatus != 0 })
            {
                deadline = .now + patience
                failed = first
            }
            guard let limit = deadline, ContinuousClock.now > limit, !left.isEmpty else { continue }
            let late = left.map { "rank \($0)" }.joined(separator: ", ")
            cause =
                (cause ?? "rank \(failed) failed")
                + "; \(late) did not end within \(patience) of that, and was killed"
            for rank in left { kill(children[rank].processIdentifier, SIGKILL) }
            for rank in left { children[rank].waitUntilExit() }
            left = []
        }
        return cause
    }
}
