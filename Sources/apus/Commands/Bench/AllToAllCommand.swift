public import ArgumentParser
import Benchmarks
import Cluster
public import Collectives
import Foundation
import Tensors
import Topology
import Transport

/// Expert-parallel dispatch and combine: what they cost on these machines.
struct AllToAllCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "all-to-all",
        abstract: "Measures expert-parallel dispatch and combine, and checks every byte.",
        discussion: """
            Starts its ranks on this machine, or joins those that mpirun, srun, torchrun or \
            apus lab run started. Exits with 1 if a byte is wrong, 2 on bad input, 3 if a rank is \
            lost or late.

              apus bench all-to-all --ranks 4 --compare mpi,ucx
              apus bench all-to-all --tokens 32 --json
              apus bench all-to-all --path library --mode low-latency
              apus bench all-to-all --lab topology/two-nodes-4g.yaml
              mpirun -np 4 apus bench all-to-all --tokens 1024
              apus bench all-to-all --ranks 8 --tokens 256 --pressure 120
            """)

    @OptionGroup var group: RankOptions
    @Option(help: "A file of topology/: run on the nodes of a lab of namespaces.") var lab: String?
    @Option(
        help: """
            serving: the calls of a step of serving; library: the fastest calls of Collectives, \
            whose rows stay in bf16 between calls.
            """)
    var path = AllToAllPath.serving
    @Option(help: "normal or low-latency (default: serving low-latency, library normal).")
    var mode: ExpertParallelConfiguration.Mode?
    @Option(
        help: """
            Tokens per rank (default: serving 512; library 4096, in low-latency mode 128, which is \
            at most 256).
            """)
    var tokens: Int?
    @Option(help: "Values per token.") var hidden = 7168
    @Option(help: "Experts per token.") var topK = 8
    @Option(help: "Routed experts.") var experts = 256
    @Option(help: "Groups of experts.") var groups = 1
    @Option(help: "Groups that a token may use (default: all).") var topGroups: Int?
    @Option(help: "uniform, zipf:EXPONENT, k-hot[:SHARE] or file:COUNTS.json.")
    var routing = "uniform"
    @Option(
        help: "How tokens travel: fp8, fp8-pow2, bf16 or f32 (default: serving bf16, library fp8).")
    var dispatch: String?
    @Option(help: "How outputs travel: bf16 or f32.") var combine = "bf16"
    @Option(help: "How the library path stores tokens and sums: bf16, or f32 (where f32 travels).")
    var values: String?
    @Flag(
        inversion: .prefixedNo,
        help: "Add outputs inside rank and node before they go home (default: library normal yes).")
    var add: Bool?
    @Option(help: "Also measure peers with the same counts: mpi, ucx or mpi,ucx.")
    var compare: String?
    @Option(help: "Measured exchanges.") var iterations: Int?
    @Option(help: "Exchanges before the measured ones.") var warmUp = 3
    @Option(help: "Decides routing and data.") var seed: UInt64 = 1
    @Option(help: "Seconds that an exchange may wait for a rank.") var limit = 30.0
    @Option(help: "Run for SECONDS with random delays, shapes and empty ranks instead.")
    var pressure: Double?
    @Flag(help: "Print one JSON object.") var json = false
    @Option(help: "apus, nccl or osu.") var format = Report.Format.apus
    @Option(help: "Write the traffic's heat map as SVG.") var svg: String?

    func validate() throws {
        if path == .serving, values != nil || add == true {
            throw ValidationError("--values and --add belong to --path library")
        }
        guard tokens ?? 0 >= 0, hidden >= 1 else {
            throw ValidationError("--tokens must not be negative, --hidden must be at least 1")
        }
        guard (0 ... 1_000_000).contains(warmUp), (1 ... 1_000_000).contains(iterations ?? 1) else {
            throw ValidationError("--warm-up goes from 0, --iterations from 1, to 1000000")
        }
        for peer in peers where !Comparison.peers.contains(peer) {
            throw ValidationError("--compare \(peer): mpi, ucx or mpi,ucx")
        }
        let day = 86_400.0
        for (name, seconds) in [("--limit", limit), ("--pressure", pressure ?? 1)]
        where !(seconds > 0 && seconds <= day) {
            throw ValidationError("\(name) \(seconds) is not above 0 and at most one day")
        }
    }

    private var peers: [String] { (compare ?? "").split(separator: ",").map(String.init) }

    func run() throws {
        try reporting {
            if let lab, !LabSite.isInside { return try LabSite.run(.ownCommand, in: lab) }
            let options = try options()
            try options.validate()
            if group.transport == .loopback { return try runInThreads(options) }
            try group.onEveryRank { try measure($0, options) }
        }
    }

    private func options() throws -> AllToAllOptions {
        var options = AllToAllOptions(path: path)
        options.mode = mode ?? options.mode
        if path == .library, options.mode == .lowLatency { options.tokenCount = 128 }
        options.tokenCount = tokens ?? options.tokenCount
        options.hiddenSize = hidden
        options.topK = topK
        options.expertCount = experts
        options.groupCount = groups
        options.topGroups = topGroups ?? groups
        options.iterationCount = iterations ?? (options.mode == .normal ? 20 : 200)
        options.warmUpCount = warmUp
        options.seed = seed
        options.limitSeconds = limit
        options.addsBeforeReturn = add ?? options.addsBeforeReturn
        if let dispatch {
            guard let codec = RowCodec(named: dispatch) else {
                throw ValidationError("--dispatch \(dispatch): fp8, fp8-pow2, bf16 or f32")
            }
            options.dispatchCodec = codec
        }
        guard let combineCodec = RowCodec(named: combine) else {
            throw ValidationError("--combine \(combine): bf16 or f32")
        }
        options.combineCodec = combineCodec
        options.storageCodec = try values.map { name in
            guard let codec = RowCodec(named: name), codec == .bfloat16 || codec == .float32 else {
                throw ValidationError("--values \(name): bf16 or f32")
            }
            return codec
        }
        options.pattern = try pattern()
        return options
    }

    private func pattern() throws -> AllToAllOptions.Pattern {
        if routing.hasPrefix("file:") {
            let path = String(routing.dropFirst(5))
            do {
                let data = try Data(contentsOf: URL(filePath: path))
                return .counts(try JSONDecoder().decode([Double].self, from: data))
            } catch {
                throw ValidationError(
                    "--routing \(routing): a JSON array of counts is expected; "
                        + error.localizedDescription)
            }
        }
        guard let pattern = AllToAllOptions.Pattern(routing) else {
            throw ValidationError(
                "--routing \(routing): uniform, zipf:EXPONENT, k-hot[:SHARE] or file:COUNTS.json")
        }
        return pattern
    }

    private func runInThreads(_ options: AllToAllOptions) throws {
        _ = try ExpertMap.contiguous(
            expertCount: options.expertCount, rankCount: group.ranks)
        let fabrics = try makeLoopbackFabrics(rankCount: group.ranks)
        try RankThreads.run(fabrics) { try measure($0, options) }
    }

    /// One rank's work; rank 0 prints.
    private func measure(_ fabric: any Fabric, _ options: AllToAllOptions) throws {
        let isFirst = fabric.rank == 0
        let benchmark = try AllToAllBenchmark(fabric: fabric, options: options)
        let progress = Progress(isShown: isFirst)
        let measurements =
            if let pressure {
                try benchmark.runUnderPressure(seconds: pressure) { progress.show("round \($0)") }
            } else {
                try benchmark.run { progress.show("exchange \($0) of \($1)") }
            }
        progress.clear()
        let hosts = compare == nil ? [] : try LabHost.all(fabric)
        try fabric.barrier(deadline: fabric.deadline(.seconds(limit), "leave"))
        if !isFirst { return }
        var result = AllToAllResult(measurements, options: options)
        let matrices = [measurements.map(\.dispatch), measurements.map(\.combine)]
            .map { half in TrafficMatrix(half.map(\.logicalBytes)) }
        if !peers.isEmpty, pressure == nil {
            result.compare = try Comparison(
                matrices, result, group.transport, hosts: hosts
            ).run(peers)
        }
        try show(result, matrices)
        if result.wrong > 0 { throw ExitCode(.failed) }
    }

    private func show(_ result: AllToAllResult, _ matrices: [TrafficMatrix]) throws {
        let map = HeatMap(
            matrices[0], seconds: result.dispatch.p50Microseconds * 1e-6, title: "dispatch")
        if let svg { try map.svg().write(toFile: svg, atomically: true, encoding: .utf8) }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
            print(String(decoding: try encoder.encode(result), as: UTF8.self))
            return
        }
        if pressure != nil {
            print("pressure: \(result.rounds ?? 0) rounds, #wrong \(result.wrong)")
            return
        }
        print(Report(result, header: BenchHeader.lines(result)).text(format))
        if format == .apus { print(map.text()) }
    }
}

extension AllToAllPath: ExpressibleByArgument {}
extension ExpertParallelConfiguration.Mode: ExpressibleByArgument {}
extension Report.Format: ExpressibleByArgument {}
