import ArgumentParser
import Benchmarks
import Collectives
import Serving
import Topology

extension SimulationOptions.Detail: ExpressibleByArgument {}

/// `apus simulate all-to-all`: a dispatch and a combine of many ranks.
struct SimulatedAllToAll: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "all-to-all",
        abstract: "Simulates an expert-parallel dispatch and combine.",
        discussion: """
            With --detail bytes ranks are threads that run the product's own code, and every byte \
            is checked. With --detail flows sizes alone move, for thousands of ranks. Exits with 1 \
            if a byte is wrong, 2 on bad input, 3 if a rank is lost.

              apus simulate all-to-all --topology topology/four-nodes-25g-roce.yaml --ranks 8
              apus simulate all-to-all --topology topology/h800-2048-mpft.yaml --ranks 2048 \
            --ep 64 --tokens 4096 --groups 8 --top-groups 4
              apus simulate all-to-all --topology topology/h800-2048-mpft.yaml --ranks 64 \
            --tokens 32 --kill 12@20us
              apus simulate all-to-all --topology topology/h800-2048-mpft.yaml --ranks 64 \
            --tokens 32 --slow node3.plane2.out=0.1
              apus simulate all-to-all --topology topology/h800-2048-mpft.yaml --ranks 64 \
            --tokens 32 --compute 200us --straggler 5=3 --trace exchange.json
            """)

    @OptionGroup var cluster: SimulatedClusterOptions

    @Option(help: "bytes or flows (default: bytes up to 64 ranks, which is possible up to 128).")
    var detail: SimulationOptions.Detail?

    @Option(help: "normal or low-latency.")
    var mode = ExpertParallelConfiguration.Mode.normal

    @Option(help: "Ranks of an EP group (default: the most that experts and ranks allow).")
    var ep: Int?

    @Option(help: "Tokens per rank.")
    var tokens = 128

    @Option(help: "How tokens travel: fp8, bf16 or f32.")
    var dispatch = "fp8"

    @Option(help: "Time that every rank computes before each half, as 200us.")
    var compute = "0us"

    @OptionGroup var faults: SimulatedFaultOptions

    func run() throws {
        try reporting {
            let options = try options()
            let file = try cluster.output()
            let simulation: any ExchangeSimulation =
                switch options.chosenDetail {
                case .bytes: try SimulatedExchange(options)
                case .flows: try FlowExchange(options)
                }
            let outcome = try simulation.traced()
            try cluster.show(
                outcome.result, text: outcome.result.text, losses: outcome.result.losses,
                isRight: outcome.result.isSound, { try outcome.trace.json() }, to: file)
        }
    }

    private func options() throws -> SimulationOptions {
        var options = try cluster.options(dispatch: dispatch, codecs: ["fp8", "bf16", "f32"])
        (options.detail, options.mode) = (detail, mode)
        (options.groupSize, options.tokenCount) = (ep, tokens)
        options.compute = try SimulatedFaultOptions.time("compute", compute, compute)
        try faults.apply(to: &options)
        return options
    }
}
