import Benchmarks
import Cluster
import Collectives
import Foundation
import Topology
import Transport

/// Runs Open MPI and raw UCX on the counts of our own run.
///
/// Both come from one C program, compiled when it is first wanted; the text travels inside this
/// one. Of every way that a peer has, the fastest counts.
struct Comparison {
    private let matrices: [TrafficMatrix]
    private let ours: AllToAllResult
    private let transport: FabricConfiguration.Transport
    /// The nodes of a lab; empty where all ranks are on this machine.
    private let hosts: [LabHost]

    /// - Throws: `unavailable` where ranks are on nodes that are no lab's: mpirun would start all
    ///   of its own here.
    init(
        _ matrices: [TrafficMatrix], _ ours: AllToAllResult,
        _ transport: FabricConfiguration.Transport, hosts: [LabHost]
    ) throws {
        self.matrices = matrices
        self.ours = ours
        self.transport = transport
        self.hosts = hosts
        let isFar = ours.transports.joined().contains { path in
            ["tcp", "ucx"].contains { path.hasPrefix($0) }
        }
        if isFar, hosts.isEmpty, transport != .tcp, transport != .ucx {
            throw TransportError.unavailable(
                "--compare between nodes: it needs apus lab, or --transport tcp on one node")
        }
    }

    /// One way of a peer: its name, mpirun's arguments, and the program's method.
    private struct Way {
        let name: String
        let arguments: [String]
        let method: String
    }

    /// What `--compare` can name.
    static let peers = ["mpi", "ucx"]

    func run(_ peers: [String]) throws -> [String: AllToAllResult.Comparison] {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-compare-\(ProcessInfo.processInfo.processIdentifier)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let program = folder.appending(path: "all_to_all")
        let source = folder.appending(path: "all_to_all.c")
        try Data(PackageResources.all_to_all_c).write(to: source)
        try Self.output([
            "mpicc", "-O2", "-o", program.path(percentEncoded: false),
            source.path(percentEncoded: false), "-lucp", "-lucs",
        ])
        let counts = folder.appending(path: "counts")
        let numbers = matrices.flatMap { $0.bytes.joined() }.map { "\($0)" }
        try numbers.joined(separator: " ").write(to: counts, atomically: true, encoding: .utf8)

        var found: [String: AllToAllResult.Comparison] = [:]
        for peer in peers {
            guard let ways = ways(of: peer) else {
                throw TransportError.unavailable("--compare \(peer): mpi or ucx")
            }
            let tried = try ways.map {
                (
                    $0,
                    try time(
                        $0, program.path(percentEncoded: false), counts.path(percentEncoded: false))
                )
            }
            guard let best = tried.min(by: { $0.1[0] + $0.1[1] < $1.1[0] + $1.1[1] }) else {
                continue
            }
            found[peer] = AllToAllResult.Comparison(
                dispatchMicroseconds: best.1[0], combineMicroseconds: best.1[1],
                method: "\(best.0.method) \(best.0.name), \(try Self.version(of: peer))",
                ours: ours)
        }
        return found
    }

    private static func version(of peer: String) throws -> String {
        guard peer == "mpi" else { return "UCX \(UCXLibrary.version)" }
        let text = try output(["mpirun", "--version"])
        return "Open MPI \(text.prefix { $0 != "\n" }.split(separator: " ").last ?? "")"
    }

    /// Every way of a peer; with more ranks than cores, left to the scheduler and bound in turn.
    private func ways(of peer: String) -> [Way]? {
        let isCrowded = ours.ranks > ProcessInfo.processInfo.activeProcessorCount
        return unboundWays(of: peer)?.flatMap { way in
            let free = Way(
                name: way.name, arguments: ["--bind-to", "none"] + way.arguments,
                method: way.method)
            let bound = Way(
                name: way.name + " bound",
                arguments: ["--bind-to", "core:overload-allowed", "--map-by", "core"]
                    + way.arguments,
                method: way.method)
            return isCrowded ? [free, bound] : [free]
        }
    }

    private func unboundWays(of peer: String) -> [Way]? {
        let ob1 = ["--mca", "pml", "ob1", "--mca", "btl"]
        let ucx =
            ["--mca", "pml", "ucx", "--mca", "pml_ucx_tls", "any"]
            + ["--mca", "pml_ucx_devices", "any"]
        let crossesAlways = transport == .tcp || transport == .ucx
        let isTCP = crossesAlways || !hosts.isEmpty
        // Inside a node of a lab Open MPI may use memory where we do.
        let near = crossesAlways ? "" : "vader,"
        let stacks: [(String, [String])] =
            isTCP
            ? [
                ("ob1/tcp", ob1 + ["self,\(near)tcp"]),
                ("ucx/tcp", ucx + ["-x", "UCX_TLS=tcp,self"]),
            ]
            : [("ob1/vader", ob1 + ["self,vader"]), ("ucx/shm", ucx)]
        switch peer {
        case "mpi":
            return stacks.flatMap { name, arguments in
                ["alltoallv", "isend"].map { Way(name: name, arguments: arguments, method: $0) }
            }
        case "ucx" where isTCP:
            return [Way(name: "ucx/tcp", arguments: stacks[1].1, method: "isend")]
        case "ucx":
            return [
                Way(
                    name: "posix", arguments: ob1 + ["self,vader", "-x", "UCX_TLS=posix,self"],
                    method: "put"),
                Way(name: "any", arguments: ob1 + ["self,vader"], method: "put"),
            ]
        default: return nil
        }
    }

    private func time(_ way: Way, _ program: String, _ counts: String) throws -> [Double] {
        let root = geteuid() == 0 ? ["--allow-run-as-root"] : []
        let launch = try LabHost.mpirun(
            on: hosts, folder: URL(filePath: program).deletingLastPathComponent())
        let text = try Self.output(
            launch + root
                + ["--oversubscribe", "-np", "\(ours.ranks)"]
                + way.arguments
                + [program, counts, "\(ours.options.iterationCount)", way.method])
        let numbers = text.split(separator: " ").dropFirst().compactMap {
            Double($0.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        guard numbers.count == 2 else {
            throw TransportError.call("mpirun \(way.name)", status: "it printed \(text)")
        }
        return numbers
    }

    /// For one way of a peer: warm-up and all its exchanges.
    private static let limit = Duration.seconds(240)

    /// Runs a program of the path without a launcher's variables, and returns what it printed.
    @discardableResult
    private static func output(_ command: [String]) throws -> String {
        var program = Command(words: command)
        program.hiddenPrefixes = ["OMPI_", "PMIX_", "APUS_"]
        do {
            return try program.run(limit: limit)
        } catch {
            throw TransportError.call(command[0], status: "\(error)")
        }
    }
}
