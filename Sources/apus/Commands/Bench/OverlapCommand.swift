import ArgumentParser
import Benchmarks
import Cluster
import Foundation
import Models
import Serving
import Tensors
import Topology
import Transport

/// `apus bench overlap`: the same steps whole and as two micro-batches, in one run.
struct OverlapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overlap",
        abstract: "Measures how much of all-to-all two micro-batches hide.",
        discussion: """
            Each rank computes batches of its own; steps are measured whole and split in turn. \
            all-to-all is the time in which at least one dispatch or combine of a rank was under \
            way; exposed is the part of it in which the rank stood still. hidden is the part of \
            the whole step's all-to-all for which the split step does not wait.

              apus bench overlap --model DIR --lab topology/two-nodes-overlap.yaml -t 1
              apus bench overlap --model DIR --ranks 2 -p 256 -b 16,64 --json

            Exits with 1 if both ways do not give the same bits.
            """)

    @OptionGroup var group: RankOptions
    @OptionGroup var arguments: ModelArguments
    @Option(help: "A file of topology/: run on the nodes of a lab of namespaces.") var lab: String?
    @Option(name: .customShort("p"), help: "Prompt tokens of each rank in a step, 0 for none.")
    var prompt = 512
    @Option(name: .customShort("b"), help: "Streams of each rank, comma-separated, 0 for none.")
    var streams = "32"
    @Option(name: .customLong("kv-depth"), help: "Tokens that every stream has cached.")
    var depth = 128
    @Option(name: .shortAndLong, help: "Measured steps of each way.")
    var repetitions = 10
    @Flag(help: "Print JSON.") var json = false

    /// What one step may hold: above any batch that hides better for being larger.
    private static let mostTokens = 1 << 16

    func validate() throws {
        guard (0 ... Self.mostTokens).contains(prompt), (0 ... 1 << 20).contains(depth) else {
            throw ValidationError("-p goes from 0 to \(Self.mostTokens), --kv-depth to 1048576")
        }
        guard (1 ... 10_000).contains(repetitions) else {
            throw ValidationError("--repetitions \(repetitions) is outside 1...10000")
        }
        if try loads().isEmpty { throw ValidationError("-p 0 -b 0 leave nothing to measure") }
    }

    func run() throws {
        try reporting {
            if let lab, !LabSite.isInside { return try LabSite.run(.ownCommand, in: lab) }
            // Known before anything starts, so it is one error and not one per rank.
            _ = try ModelConfiguration.load(directory: arguments.model)
            try group.onEveryRank { try measure($0) }
        }
    }

    private func loads() throws -> [(name: String, load: OverlapBenchmark.Load)] {
        var loads: [(String, OverlapBenchmark.Load)] = []
        if prompt > 0 {
            loads.append(("prompt \(prompt)", .init(sequences: 1, tokens: prompt, depth: 0)))
        }
        for part in streams.split(separator: ",") {
            guard let count = Int(part), (0 ... Self.mostTokens).contains(count) else {
                throw ValidationError("-b \(part) is not a number from 0 to \(Self.mostTokens)")
            }
            if count > 0 {
                loads.append(("streams \(count)", .init(sequences: count, tokens: 1, depth: depth)))
            }
        }
        return loads
    }

    /// One rank's work; rank 0 prints.
    private func measure(_ fabric: any Fabric) throws {
        let loads = try loads()
        let most = loads.map { $0.load.sequences * $0.load.tokens }.max() ?? 1
        let isFirst = fabric.rank == 0
        let blockTokens = BlockCache.defaultBlockTokens
        let blocks = loads.map { OverlapBenchmark.blocks($0.load, blockTokens: blockTokens) }.max()
        var configuration = arguments.rank(ranks: fabric.rankCount)
        configuration.cacheTokens = (blocks ?? 1) * blockTokens
        configuration.engine.stepTokens = most
        let bar = isFirst ? ProgressBar("loading") : nil
        let note: (String) -> Void = { if isFirst { ModelArguments.note($0) } }
        let rank = try ServingRank(configuration, fabric: fabric, note: note) { phase in
            if case .load(let progress?) = phase { bar?.show(progress) }
        }
        bar?.finish()
        let benchmark = OverlapBenchmark(rank.network, fabric: fabric)
        let results = try loads.map { load in
            (load.name, try benchmark.run(load.load, repetitions: repetitions))
        }
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "leave"))
        guard isFirst else { return }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            let object = Dictionary(uniqueKeysWithValues: results)
            print(String(decoding: try encoder.encode(object), as: UTF8.self))
        } else {
            print(table(results, fabric))
        }
        if results.contains(where: { !$0.1.isSame }) { throw ExitCode(.failed) }
    }

    private func table(
        _ results: [(String, OverlapBenchmark.Result)], _ fabric: any Fabric
    ) -> String {
        let paths = fabric.ranks.filter { $0 != fabric.rank }.map { "\(fabric.path(to: $0))" }
        var lines = [
            "apus bench overlap, \(fabric.rankCount) ranks, \(repetitions) steps of each way; "
                + "rank 0 reaches the others by \(Set(paths).sorted().joined(separator: ", "))",
            "per rank, ms    way        step  compute  all-to-all  exposed  hidden   tokens/s",
        ]
        for (name, result) in results {
            for (title, way) in [("whole", result.whole), ("split", result.split)] {
                let isSplit = title == "split"
                lines.append(
                    name.padding(toLength: 16, withPad: " ", startingAt: 0) + title
                        + String(
                            format: "%10.2f%9.2f%12.2f%9.2f", way.step * 1e3,
                            (way.step - way.exposed) * 1e3, way.travel * 1e3, way.exposed * 1e3)
                        + (isSplit
                            ? String(format: "%7.0f%%", result.hiddenShare * 100)
                            : "        ")
                        + String(format: "%11.0f", Double(result.tokens) / way.step))
            }
            if !result.isSame { lines.append("\(name): the two ways differ in bits") }
        }
        return lines.joined(separator: "\n")
    }
}
