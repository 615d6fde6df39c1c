import ArgumentParser
import Benchmarks
import Collectives
import Tensors
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
            --tokens 32 --compute 200us --straggler 5=3
            """)

    @Option(help: "A topology file.")
    var topology: String

    @Option(help: "Ranks that take part: those of the first nodes.")
    var ranks: Int

    @Option(help: "Decides routing, data, delays and the order of threads.")
    var seed: UInt64 = 1

    @Option(help: "bytes or flows (default: bytes up to 64 ranks, which is possible up to 128).")
    var detail: SimulationOptions.Detail?

    @Option(help: "normal or low-latency.")
    var mode = ExpertParallelConfiguration.Mode.normal

    @Option(help: "Ranks of an EP group (default: the most that experts and ranks allow).")
    var ep: Int?

    @Option(help: "Tokens per rank.")
    var tokens = 128

    @Option(help: "Values per token.")
    var hidden = 7168

    @Option(name: [.customLong("topk"), .customLong("top-k")], help: "Experts per token.")
    var topK = 8

    @Option(help: "Routed experts.")
    var experts = 256

    @Option(help: "Groups of experts.")
    var groups = 1

    @Option(help: "Groups that a token may use (default: all).")
    var topGroups: Int?

    @Option(help: "How tokens travel: fp8, bf16 or f32.")
    var dispatch = "fp8"

    @OptionGroup var faults: SimulatedFaultOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        try reporting {
            let options = try options()
            let result =
                switch options.chosenDetail {
                case .bytes: try SimulatedExchange(options).run()
                case .flows: try FlowExchange(options).run()
                }
            if json { try printObject(result) } else { print(result.text) }
            if !result.losses.isEmpty { throw ExitCode(.lost) }
            if result.wrong ?? 0 > 0 { throw ExitCode(.failed) }
        }
    }

    private func options() throws -> SimulationOptions {
        var options = SimulationOptions(
            file: topology, map: try NodeMap(contentsOf: topology), rankCount: ranks)
        (options.seed, options.detail, options.mode) = (seed, detail, mode)
        (options.groupSize, options.tokenCount, options.hiddenSize) = (ep, tokens, hidden)
        (options.topK, options.expertCount) = (topK, experts)
        (options.expertGroups, options.topGroups) = (groups, topGroups ?? groups)
        guard let codec = RowCodec(named: dispatch) else {
            throw ValidationError("--dispatch \(dispatch): fp8, bf16 or f32")
        }
        options.dispatchCodec = codec
        try faults.apply(to: &options)
        return options
    }
}
