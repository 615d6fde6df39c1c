import ArgumentParser
import Benchmarks
import Models
import Tensors
import Topology

/// `apus bench share`: one rank's share of a model that is too large for this machine.
struct ShareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "share",
        abstract: "Measures one rank's share of a large model, and predicts many such machines.",
        discussion: """
            Makes some blocks of the model in memory, of random weights, with this rank's share of \
            the routed experts; nothing is written to a disk. Prefill and decode steps get as many \
            rows as all ranks would bring. Each part stands beside the limit that memory or \
            arithmetic sets, and is scaled to the whole model. With --topology the travel between \
            such ranks is predicted, and every line says what it is: measured, predicted or both.

            Examples:
              apus bench share --model deepseek-v3 --ranks 8
              apus bench share --model deepseek-v3 --ranks 8 --layers 3 --batch 32 --context 4096 \
            --topology topology/epyc-8-nodes-100g-roce.yaml --explain
              apus bench share --model kimi-k2 --ranks 16 --format int4 --json

            Without --layers as many blocks are made as fit in free memory, at least one of each \
            kind. Exits with 1 if a logit is not finite, with 2 on bad input.
            """)

    @Option(help: "deepseek-v3, deepseek-v2, kimi-k2, a config.json, or a folder that holds one.")
    var model: String

    @Option(help: "Ranks that share the routed experts; they divide them.")
    var ranks: Int

    @Option(help: "Blocks to make (default: as many as fit).")
    var layers: Int?

    @Option(help: "Tokens that each sequence has when it decodes.")
    var context = 4096

    @Option(help: "Sequences of each rank.")
    var batch = 32

    @Option(help: "Weights as fp8, bf16, int4 or mxfp4 (default: as the configuration says).")
    var format: RandomCheckpoint.Format?

    @Option(
        help: """
            Threads (default: all cores that the process may use; with --topology, divided by \
            the ranks of a node).
            """)
    var threads: Int?

    @Option(help: "A topology file: predicts as many of its ranks.")
    var topology: String?

    @Option(help: "Prompt tokens of each rank, 0 for none.")
    var prefill = 512

    @Option(help: "uniform, or zipf:EXPONENT, of which the busiest rank is measured.")
    var routing = "uniform"

    @Option(name: .shortAndLong, help: "Measured decode steps.")
    var repetitions = 5

    @Option(help: "Decides weights and routing.")
    var seed: UInt64 = 1

    @Flag(help: "Print the formula of every predicted figure.")
    var explain = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        try reporting {
            let options = try options()
            let benchmark = try ShareBenchmark(options)
            try ComputeNotes.say(threads: options.threads)
            if !json { print(benchmark.summary) }
            let bar = ProgressBar("drawing weights")
            let progress = Progress(isShown: true)
            let report = try benchmark.run(
                loading: { bar.show($0) },
                note: {
                    bar.finish()
                    progress.show($0)
                })
            progress.clear()
            if json {
                try printObject(report)
            } else {
                print(report.text(explained: explain), terminator: "")
            }
            if !report.isFinite { throw ExitCode(.failed) }
        }
    }

    private func options() throws -> ShareOptions {
        var options = ShareOptions(
            name: model, model: try ShareModel.configuration(model), ranks: ranks)
        options.layers = layers
        (options.context, options.batch, options.prefill) = (context, batch, prefill)
        (options.repetitions, options.seed) = (repetitions, seed)
        options.format = format ?? options.format
        guard let pattern = AllToAllOptions.Pattern(routing) else {
            throw ValidationError("--routing \(routing): uniform or zipf:EXPONENT")
        }
        switch pattern {
        case .uniform, .zipf: options.pattern = pattern
        case .kHot, .counts:
            throw ValidationError("--routing \(routing): uniform or zipf:EXPONENT")
        }
        options.cluster = try topology.map {
            try ShareOptions.Cluster(try NodeMap(contentsOf: $0), file: $0)
        }
        options.threads =
            threads
            ?? ThreadPool.threads(on: CoreLimit.ofProcess.cores, ranks: options.ranksOnNode)
        return options
    }
}
