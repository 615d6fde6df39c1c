import ArgumentParser
import Benchmarks
import Collectives
import Planner
import Serving
import Topology

/// `apus simulate serve`: texts that many ranks write.
struct SimulatedServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Simulates serving: ranks that write texts in steps, with shared experts.",
        discussion: """
            Ranks are threads that run the product's own engine, scheduler, step barrier and \
            all-to-all; computing takes virtual time alone. Prints TPOT, TTFT, tokens/s and the \
            exposed travel of each layer, beside the TPOT that apus plan's formulas predict. \
            Exits with 2 on bad input, 3 if a rank is lost.

              apus simulate serve --topology topology/four-nodes-25g-roce.yaml --ranks 8 \
            --hidden 1024 --experts 64 --compute 1ms
              apus simulate serve --topology topology/h800-2048-mpft.yaml --ranks 64 --batch 8 \
            --compute 100us --overlap --trace steps.json
              apus simulate serve --topology topology/epyc-8-nodes-100g-roce.yaml --ranks 16 \
            --model deepseek-v3 --context 4096 --batch 4
              apus simulate serve --topology topology/h800-2048-mpft.yaml --ranks 64 --batch 8 \
            --compute 100us --slow node3.plane2.out=0.05
            """)

    @OptionGroup var cluster: SimulatedClusterOptions

    @Option(help: "Texts of a rank, which all begin at once.")
    var batch = 16

    @Option(help: "Tokens of a prompt.")
    var prompt = 1

    @Option(help: "New tokens of a text.")
    var newTokens = 8

    @Option(help: "Tokens of a step, prompts and streams together.")
    var stepTokens = 512

    @Option(help: "Blocks with experts.")
    var layers = 4

    @Option(help: "normal, or low-latency as servers take it.")
    var mode = ExpertParallelConfiguration.Mode.lowLatency

    @Option(help: "How tokens travel to the experts: fp8 or bf16.")
    var dispatch = "bf16"

    @Flag(
        help: """
            Split steps of two tokens or more in micro-batches that hide each other's all-to-all.
            """)
    var overlap = false

    @OptionGroup var model: SimulatedModelOptions

    @Option(help: "Tokens of each text's cache, for --model.")
    var context = 4096

    @Option(
        help: "What a block computes for a step of --batch tokens (default: 1ms); more take longer."
    )
    var compute: String?

    @OptionGroup var faults: SimulatedFaultOptions

    func run() throws {
        try reporting {
            let options = try options()
            let file = try cluster.output()
            let bar = ProgressBar("simulate")
            defer { bar.finish() }
            let outcome = try SimulatedServing(options).traced { bar.show($0, of: $1, "tokens") }
            try cluster.show(
                outcome.result, text: outcome.result.text, losses: outcome.result.losses,
                { try outcome.trace.json() }, to: file)
        }
    }

    private func options() throws -> ServingSimulationOptions {
        let shape = try model.shape(times: [("compute", compute)])
        var base = try cluster.options(
            model: shape, dispatch: dispatch, codecs: ["fp8", "bf16"])
        base.mode = mode
        try faults.apply(to: &base)
        let given = compute ?? "1ms"
        var options = ServingSimulationOptions(
            base,
            computing: .given(
                seconds: try SimulatedFaultOptions.time("compute", given, given) / .seconds(1),
                expertShare: model.expertShare))
        (options.streams, options.prompt, options.newTokens) = (batch, prompt, newTokens)
        (options.stepTokens, options.blocks, options.overlaps) = (stepTokens, layers, overlap)
        guard let shape else { return options }
        try options.check()
        let decode = try model.layout(shape, base, .decode, blocks: layers) {
            ($0.ep, $0.batch, $0.context) = (cluster.ranks, batch, context)
        }
        let prompts = try model.layout(shape, base, .prefill, blocks: layers) {
            ($0.ep, $0.batch, $0.context) = (cluster.ranks, 1, prompt)
        }
        options.computing = .planned(decode: decode, prompts: prompts)
        return options
    }
}
