import ArgumentParser
import Benchmarks
import Cluster
import Collectives
import Foundation
import Planner
import Tensors
import Topology

extension LinkMap.Routing: ExpressibleByArgument {}

/// The described cluster of a simulation, the routing of its tokens, and what is written.
struct SimulatedClusterOptions: ParsableArguments {
    @Option(help: "A topology file.")
    var topology: String

    @Option(help: "Ranks that take part: those of the first nodes.")
    var ranks: Int

    @Option(help: "Decides routing, data, delays and the order of threads.")
    var seed: UInt64 = 1

    @Option(help: "Values per token (default: the model's, or 7168).")
    var hidden: Int?

    @Option(
        name: [.customLong("topk"), .customLong("top-k")],
        help: "Experts per token (default: the model's, or 8).")
    var topK: Int?

    @Option(help: "Routed experts (default: the model's, or 256).")
    var experts: Int?

    @Option(help: "Groups of experts (default: the model's, or 1).")
    var groups: Int?

    @Option(help: "Groups that a token may use (default: the model's, or all).")
    var topGroups: Int?

    @Option(
        help: """
            How switches choose among equally short ways: static, by a hash of both ends, or \
            adaptive, by what the ways carry.
            """)
    var networkRouting = LinkMap.Routing.static

    @Option(
        help: ArgumentHelp(
            "Write what every rank did in virtual time, for Perfetto, to this file.",
            valueName: "file"))
    var trace: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    /// The options of a cluster, without faults.
    ///
    /// - Parameters:
    ///   - model: Gives what is not said.
    ///   - dispatch: How tokens travel; one of `codecs`.
    func options(
        model: ModelShape? = nil, dispatch: String, codecs: [String]
    ) throws -> SimulationOptions {
        var options = SimulationOptions(
            file: topology, map: try NodeMap(contentsOf: topology), rankCount: ranks)
        options.seed = seed
        options.hiddenSize = hidden ?? model?.hidden ?? options.hiddenSize
        options.topK = topK ?? model?.activeExperts ?? options.topK
        options.expertCount = experts ?? model?.routedExperts ?? options.expertCount
        options.expertGroups = groups ?? model?.expertGroups ?? 1
        options.topGroups =
            topGroups ?? (groups == nil ? model?.keptGroups : nil) ?? options.expertGroups
        guard codecs.contains(dispatch), let codec = RowCodec(named: dispatch) else {
            throw ValidationError(
                "--dispatch \(dispatch): " + codecs.formatted(.list(type: .or)))
        }
        options.dispatchCodec = codec
        options.networkRouting = networkRouting
        return options
    }

    /// Prints a result, writes the trace, and ends as the ranks did.
    ///
    /// - Throws: `ExitCode` 3 where a rank was lost, else 1 where something is wrong.
    func show(
        _ result: some Encodable, text: String, losses: [String], isRight: Bool = true,
        _ trace: () throws -> Data, to file: OutputFile?
    ) throws {
        try file?.write(try trace())
        if json { try printObject(result) } else { print(text) }
        if !losses.isEmpty { throw ExitCode(.lost) }
        if !isRight { throw ExitCode(.failed) }
    }

    /// The file of the trace, checked before the simulation runs.
    func output() throws -> OutputFile? { try trace.map { try OutputFile($0) } }
}

/// Whose computing the planner's rates give.
struct SimulatedModelOptions: ParsableArguments {
    @Option(
        help: """
            A published model, as deepseek-v3, or a folder with config.json: sizes, and computing \
            at the rates of the topology file's processor, as apus plan has it.
            """)
    var model: String?

    @Option(help: "The model's weights as fp8, bf16, or int4 (routed experts; the others bf16).")
    var weights = PlanRequest.Weights.fp8

    @Option(help: "The share of --compute that routed experts take, 0 to 1.")
    var expertShare = 0.5

    func validate() throws {
        guard (0 ... 1).contains(expertShare) else {
            throw ValidationError("--expert-share \(expertShare) is not 0 to 1")
        }
    }

    /// The sizes of the model, if one is named.
    ///
    /// - Throws: `ValidationError` for one without experts, and for times beside it.
    func shape(times: [(String, String?)]) throws -> ModelShape? {
        guard let model else { return nil }
        if let (name, _) = times.first(where: { $0.1 != nil }) {
            throw ValidationError("--model gives what is computed: --\(name) does not go with it")
        }
        let shape = try ModelShape(named: model)
        guard shape.routedExperts > 0 else {
            throw ValidationError("--model \(model) has no routed experts, so nothing travels")
        }
        return shape
    }

    /// A layout of some of the model's blocks with experts, of whose computing blocks are made.
    func layout(
        _ shape: ModelShape, _ options: SimulationOptions, _ phase: PlanRequest.Phase, blocks: Int,
        _ change: (inout PlanRequest) -> Void
    ) throws -> Layout {
        var shape = shape
        (shape.layers, shape.denseLayers) = (blocks, 0)
        var request = PlanRequest(
            file: options.file, map: options.map, model: shape, phase: phase)
        request.weights = weights
        change(&request)
        return try Layout(request)
    }
}
