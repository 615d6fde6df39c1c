import ArgumentParser
import Pipeline
import Planner
import Topology

extension PlanRequest.Phase: ExpressibleByArgument {}
extension PlanRequest.Weights: ExpressibleByArgument {}
extension WireFormat: ExpressibleByArgument {}
extension PlannedExchange.Style: ExpressibleByArgument {}

/// What every plan must know.
struct PlanOptions: ParsableArguments {
    @Option(help: "A topology file with processor and rates.")
    var topology: String?

    @Option(help: "A published model, as deepseek-v3, or a folder with config.json.")
    var model: String?

    @Option(help: "train, prefill or decode.")
    var phase: PlanRequest.Phase?

    @Option(help: "Tokens of context, of a prompt, or of a sequence.")
    var context = 4096

    @Option(help: "Weights as fp8, bf16, or int4 (routed experts; the others bf16).")
    var weights = PlanRequest.Weights.fp8

    @Option(help: "Tokens on their way out as fp8, bf16 or logfmt.")
    var dispatch = WireFormat.fp8

    @Option(help: "Tokens on their way back as fp8, bf16 or logfmt.")
    var combine = WireFormat.bf16

    @Option(help: "direct (a copy per expert; decode's default) or deduplicated (per node).")
    var exchange: PlannedExchange.Style?

    @Option(help: "Order of a training step: 1f1b, zb1p, zbv, dualpipe or dualpipev.")
    var schedule = ScheduleKind.dualPipe

    @Option(help: "Tokens of a training run, in billions.")
    var trainingBillions = 1000.0

    @Option(help: "Decode: the share of drafts that are accepted, 0 to 1.")
    var acceptance = 0.0

    @Flag(help: "Do not hide travel behind computing.")
    var noOverlap = false

    func validate() throws {
        guard trainingBillions > 0, trainingBillions <= 1e9 else {
            throw ValidationError("--training-billions \(trainingBillions) is not above 0 to 1e9")
        }
        guard schedule != .forwardOnly else {
            throw ValidationError("--schedule forward-only trains nothing")
        }
    }

    /// The request, sizes of the cut left at their defaults.
    ///
    /// - Throws: `ValidationError` for one of the three that every such plan needs.
    func request() throws -> PlanRequest {
        guard let topology else { throw ValidationError(Self.missing("topology")) }
        guard let model else { throw ValidationError(Self.missing("model")) }
        guard let phase else { throw ValidationError(Self.missing("phase")) }
        var request = PlanRequest(
            file: topology, map: try NodeMap(contentsOf: topology),
            model: try ModelShape(named: model), phase: phase)
        request.context = context
        request.weights = weights
        (request.dispatch, request.combine, request.style) = (dispatch, combine, exchange)
        request.schedule = schedule
        request.trainingTokens = trainingBillions * 1e9
        request.acceptance = acceptance
        request.overlaps = !noOverlap
        return request
    }

    private static func missing(_ name: String) -> String {
        "Missing expected argument '--\(name) <\(name)>'; apus plan JOB.yaml needs none"
    }
}
