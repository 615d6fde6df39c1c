import Models
import Planner

/// What a cluster of ranks like the measured one would do: its measured computing, and the travel
/// that a topology file predicts.
struct SharePrediction {
    let figures: [ShareReport.Predicted]

    /// What the figures of a cluster leave out.
    static func omissions(_ options: ShareOptions) -> [String] {
        let shared =
            "ranks of a node share its memory: run this on one rank's cores and memory (numactl)"
        return [
            "hiding travel behind the computing of another batch, beside the line that says so",
            "contention inside switches, latency of single messages, uneven ranks",
        ] + (options.ranksOnNode > 1 ? [shared] : [])
    }

    private static let exchange = "Insights into DeepSeek-V3, 2.3.2; DeepEP"

    /// As serving sends.
    private static func travel(
        _ options: ShareOptions, _ cluster: ShareOptions.Cluster, tokens: Int
    ) -> PlannedTravel {
        let model = options.model
        let nodes = (options.ranks + cluster.ranksPerNode - 1) / cluster.ranksPerNode
        let spread = Spread(
            experts: model.routedExpertCount, active: model.activeExpertCount,
            ranks: options.ranks, nodes: nodes, groups: model.groupCount,
            keptGroups: model.keptGroupCount)
        return PlannedTravel(
            tokens: Double(tokens), hidden: model.hiddenSize, spread: spread, over: cluster.rates)
    }

    init(
        _ options: ShareOptions, _ cluster: ShareOptions.Cluster, decode: ShareReport.Phase,
        prefill: ShareReport.Phase?
    ) {
        figures =
            Self.phase("TPOT", options, cluster, decode, streams: options.batch)
            + (prefill.map { Self.phase("TTFT", options, cluster, $0, streams: 1) } ?? [])
    }

    /// - Parameter streams: Sequences of a rank, to say what one of them sees.
    private static func phase(
        _ name: String, _ options: ShareOptions, _ cluster: ShareOptions.Cluster,
        _ phase: ShareReport.Phase, streams: Int
    ) -> [ShareReport.Predicted] {
        let travel = travel(options, cluster, tokens: phase.tokens)
        let blocks = options.model.expertLayerCount
        let (compute, wire) = (phase.modelSeconds, Double(blocks) * travel.seconds)
        let total = compute + wire
        let tokens = Double(phase.tokens * options.ranks)
        let (out, home) = (travel.dispatch, travel.combine)
        let what = name == "TPOT" ? "decode" : "prefill"
        func figure(
            _ title: String, _ value: Double, _ unit: Figure.Unit, _ formula: String,
            _ source: String, _ origin: ShareReport.Origin
        ) -> ShareReport.Predicted {
            ShareReport.Predicted(
                figure: Figure(title, value, unit, formula, source: source), origin: origin)
        }
        let kinds = phase.blocks.map { "\($0.inModel) x \(Figure.text($0.seconds, .seconds))" }
        return [
            figure(
                "\(what): computing", compute, .seconds,
                kinds.joined(separator: " + ") + " + head + rest", "this run", .measured),
            figure(
                "\(what): dispatch through the NIC", out.nicBytes, .bytes,
                "\(phase.tokens) tokens x other nodes x (2h + 16) B", exchange, .predicted),
            figure(
                "\(what): combine through the NIC", home.nicBytes, .bytes,
                "\(phase.tokens) tokens x k outputs of other nodes x 2h B", exchange, .predicted),
            figure(
                "\(what): travel of a block", travel.seconds, .seconds,
                "2 x exchangeMicroseconds + the slower link of each half", cluster.file,
                .predicted),
            figure(
                name, total, .seconds,
                "computing + \(blocks) x \(Figure.text(travel.seconds, .seconds))",
                "this run; \(cluster.file)", .both),
            figure(
                "\(name) if all travel is hidden", max(compute, wire), .seconds,
                "max(computing, \(blocks) x travel)", "this run; \(cluster.file)", .both),
            figure(
                "\(what): a stream", Double(phase.tokens / streams) / total, .tokensPerSecond,
                "tokens of a stream / \(name)", "this run; \(cluster.file)", .both),
            figure(
                "\(what): all \(options.ranks) ranks", tokens / total, .tokensPerSecond,
                "ranks x \(phase.tokens) tokens / \(name)", "this run; \(cluster.file)", .both),
        ]
    }
}
