import Cluster
import Foundation
import Topology
import Transport

/// What `ucx_perftest` reaches between two ranks: the peer that the link figures stand beside.
struct PerftestFigures: Codable {
    var latencyMicroseconds: Double?
    var tokenLatencyMicroseconds: Double?
    var bytesPerSecond: Double?
    /// What it ran: `put posix` or `am tcp`.
    var test: String

    var text: String {
        func show(_ value: Double?) -> String { value.map { String(format: "%.2f", $0) } ?? "-" }
        return "\(test): \(show(latencyMicroseconds)) / \(show(tokenLatencyMicroseconds)) us, "
            + "\(show(bytesPerSecond.map { $0 / 1e9 })) GB/s"
    }
}

/// Runs `ucx_perftest` between pairs of ranks: one serves, the other measures.
///
/// Where stores reach, its put over POSIX shared memory is the same work; elsewhere its active
/// messages over TCP are, since its put is emulated there. Over verbs it is perftest's writes.
struct PerftestReference {
    private let fabric: any Fabric
    private let isTCP: Bool
    private let device: String?
    private let addresses: [String]
    private let isVerbs: Bool

    /// Far above what its iterations take over the slowest link of a lab.
    private static let limit = Duration.seconds(240)

    private static func program(_ test: String) -> String {
        test.hasPrefix("ib_") ? "/usr/bin/\(test)" : "/usr/bin/ucx_perftest"
    }

    /// Collective: ranks tell each other where they can be reached. Nil measures without it.
    init?(fabric: any Fabric, group: RankOptions) throws {
        self.fabric = fabric
        device = group.device
        isTCP = group.transport == .tcp || group.transport == .ucx
        isVerbs = group.transport == .rdma
        let here = FileManager.default.isExecutableFile(
            atPath: Self.program(isVerbs ? "ib_write_lat" : "ucp"))
        let address = here ? LocalAddress.first(on: group.device) : ""
        let all = try fabric.allGather(
            Array(address.utf8), label: "perftest addresses",
            deadline: fabric.deadline(.seconds(60), "perftest addresses"))
        addresses = all.map { String(decoding: $0, as: UTF8.self) }
        if addresses.contains("") { return nil }
    }

    /// Collective; figures on the lower rank of the pair.
    func measure(_ pair: (Rank, Rank), round: Int) throws -> PerftestFigures? {
        let (first, second) = pair
        let isStore = fabric.node(of: first) == fabric.node(of: second) && !isTCP
        let tests =
            isVerbs
            ? ("ib_write_lat", "ib_write_bw")
            : isStore ? ("ucp_put_lat", "ucp_put_bw") : ("ucp_am_lat", "ucp_am_bw")
        var device = ""
        if case Path.verbs(let name, _) = fabric.path(to: fabric.rank == first ? second : first) {
            device = name
        }
        let runs = [(tests.0, 8, 20_000), (tests.0, 7168, 20_000), (tests.1, 1 << 20, 1000)]
        var values: [Double?] = []
        for (index, run) in runs.enumerated() {
            let port = 21_000 + (round * 4 + index) % 10_000
            let iterations = isStore ? run.2 : run.2 / 10
            if fabric.rank == second {
                let server = try start(
                    run.0, isVerbs ? verbs(device, run.1, iterations) : [], port, isStore)
                try meet()
                _ = server.wait(Self.limit) ?? server.end(within: .zero)
            } else {
                // The server must listen before the client calls.
                try meet()
                if fabric.rank == first {
                    usleep(200_000)
                    let arguments =
                        isVerbs
                        ? verbs(device, run.1, iterations) + [addresses[second.rawValue]]
                        : [
                            addresses[second.rawValue], "-t", run.0, "-s", "\(run.1)", "-n",
                            "\(iterations)", "-w", "\(max(100, iterations / 10))", "-f",
                        ]
                    values.append(try result(of: start(run.0, arguments, port, isStore), run.0))
                }
            }
            try meet()
        }
        guard values.count == 3 else { return nil }
        return PerftestFigures(
            latencyMicroseconds: values[0], tokenLatencyMicroseconds: values[1],
            bytesPerSecond: values[2],
            test: isVerbs ? "ib_write" : isStore ? "put posix" : "am tcp")
    }

    /// perftest's words: connected by rdmacm, as our own connections are.
    private func verbs(_ device: String, _ size: Int, _ iterations: Int) -> [String] {
        ["-d", device, "-R", "-F", "-s", "\(size)", "-n", "\(iterations)"]
    }

    private func meet() throws {
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "ucx_perftest"))
    }

    private func start(
        _ test: String, _ arguments: [String], _ port: Int, _ isStore: Bool
    ) throws -> Child {
        var command = Command(words: [Self.program(test)] + arguments + ["-p", "\(port)"])
        command.hiddenPrefixes = ["UCX_NET_DEVICES"]
        command.environment = [
            "UCX_TLS": isStore ? "posix,cma" : "tcp", "UCX_WARN_UNUSED_ENV_VARS": "n",
        ]
        if !isStore, let device { command.environment["UCX_NET_DEVICES"] = device }
        return try Child(command, output: .captured)
    }

    /// The last line's overall average: microseconds, or MB/s for bandwidth.
    private func result(of process: Child, _ test: String) throws -> Double? {
        guard process.wait(Self.limit) != nil else {
            process.end(within: .zero)
            throw ClusterError.deadline("\(test) did not end within \(Self.limit)")
        }
        let lines = process.captured().output.split(separator: "\n")
        if test.hasPrefix("ib_") { return verbsResult(lines, test) }
        guard let line = lines.last(where: { $0.contains("Final") }) ?? lines.last else {
            return nil
        }
        let words = line.split(separator: " ").compactMap { Double($0) }
        guard words.count >= 7 else { return nil }
        // iterations, p50, average, overall, MB/s average, MB/s overall, messages...
        return test.hasSuffix("_bw") ? words[words.count - 3] * 1_048_576 : words[1]
    }
}

extension PerftestReference {
    /// perftest's one line of numbers: bytes, iterations, then of latency minimum, maximum,
    /// typical; of bandwidth peak and average in MiB/s.
    private func verbsResult(_ lines: [Substring], _ test: String) -> Double? {
        let rows = lines.map { $0.split(separator: " ").compactMap { Double($0) } }
        guard let row = rows.last(where: { $0.count >= 5 }) else { return nil }
        return test.hasSuffix("_bw") ? row[3] * 1_048_576 : row[4]
    }
}

/// An address of this node that others can reach.
enum LocalAddress {
    /// The first IPv4 address of a device, of any but loopback, or loopback's.
    static func first(on device: String?) -> String {
        let wanted = device?.split(separator: ",").first.map(String.init)
        let all = NetworkAddress.all()
        let chosen =
            all.first { $0.device == wanted } ?? all.first { !$0.address.hasPrefix("127.") }
        return chosen?.address ?? "127.0.0.1"
    }
}
