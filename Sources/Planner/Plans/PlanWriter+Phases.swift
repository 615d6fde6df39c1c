import Pipeline
import Topology

extension PlanWriter {
    /// - Returns: TPOT and tokens per second of a rank.
    mutating func writeDecode() -> (Double, Double) {
        let times = layout.layerTimes
        let (tpot, perRank) = layout.serving(times)
        writeLayers(times)
        add(
            "writing a token",
            [
                Figure(
                    "TPOT", tpot, .seconds,
                    "(\(request.model.expertLayers) x layer + \(request.model.denseLayers) x dense "
                        + "layer + head) / (1 + acceptance \(Figure.digits(request.acceptance)))",
                    source: Self.insights),
                Figure(
                    "speed of a request", 1 / tpot, .tokensPerSecond, "1 / TPOT",
                    source: Self.insights),
                Figure(
                    "TPOT by the paper's formula", paperTPOT, .seconds,
                    "layers x 2 x tokens of half a batch x (k + shared) x (dispatch 1 B + combine "
                        + "2 B) x h / full rate: no latency, zero compute, all copies remote",
                    source: Self.insights),
            ])
        writeRates(
            perRank, operations: request.model.forwardOperations(sequence: request.context))
        return (tpot, perRank)
    }

    /// Source: Insights into DeepSeek-V3, 2.3.2, for the batch and rates of this plan.
    private var paperTPOT: Double {
        let rates = layout.rates
        let rate = layout.expertNodes > 1 ? rates.nicBytesPerSecond : rates.nodeBytesPerSecond
        return PaperFormulas.exchangeSeconds(
            tokens: Double(request.batch) / Double(2 * request.tp),
            copies: request.model.activeExperts + request.model.sharedExperts,
            hidden: request.model.hidden, bytesPerSecond: rate) * 2 * Double(request.model.layers)
    }

    /// - Returns: TTFT and tokens per second of a rank.
    mutating func writePrefill() -> (Double, Double) {
        let times = layout.layerTimes
        writeLayers(times)
        let (_, perRank) = layout.serving(times)
        add(
            "reading the prompts",
            [
                Figure(
                    "TTFT", times.total, .seconds,
                    "\(request.model.expertLayers) x layer + \(request.model.denseLayers) x dense "
                        + "layer + head, all \(request.batch) prompts at once",
                    source: Self.roofline)
            ])
        writeRates(
            perRank, operations: request.model.forwardOperations(sequence: request.context))
        return (times.total, perRank)
    }

    /// - Returns: A step's time and tokens per second of a rank.
    mutating func writeTraining(_ times: TrainingTimes) -> (Double, Double) {
        let tokens = Double(request.batch * request.context * layout.dp)
        let (_, perRank) = layout.training(times)
        let model = request.model
        add(
            "a training step",
            [
                Figure(
                    "forward of a stage", times.costs.forward, .seconds,
                    "products and attention of layers / PP, and travel "
                        + Figure.text(times.travel, .seconds), source: Self.roofline),
                Figure(
                    "backward of a stage", times.costs.backward, .seconds,
                    "input gradients with travel, and weight gradients", source: Self.roofline),
                Figure(
                    "overlapped pair", times.costs.pair, .seconds,
                    "max(forward + backward computing, 2 x travel) where overlapped",
                    source: "DeepSeek-V3 report, 3.2.1"),
                Figure(
                    "bubble", times.bubble, .seconds,
                    "simulation of \(request.schedule.title), \(request.pp) ranks, "
                        + "\(request.batch) micro-batches of one sequence",
                    source: "apus schedule --schedule \(request.schedule.rawValue)"),
                Figure(
                    "gradients joined and optimizer", times.optimizer, .seconds,
                    "12 B per parameter over memory, 6 B over the NIC", source: "ZeRO-1"),
                Figure(
                    "step", times.step, .seconds, "simulated makespan + optimizer",
                    source: "this plan"),
                Figure(
                    "tokens of a step", tokens, .tokens, "batch x context x DP", source: "request"),
            ])
        writeRates(perRank, operations: model.trainingOperations(sequence: request.context))
        let run = TrainingRate(
            tokensPerSecondPerRank: perRank, model: model, sequence: request.context,
            peak: layout.processor.bf16OperationsPerSecond)
        let hours = run.hours(tokens: request.trainingTokens)
        let price = request.map.hardware?.prices?.rankHourDollars ?? 0
        add(
            "the whole run",
            [
                Figure(
                    "MFU, causal", run.utilization(isCausal: true), .share,
                    "tokens/s x operations per token / bf16 peak",
                    source: "Insights into DeepSeek-V3, Table 4"),
                Figure(
                    "MFU, not causal", run.utilization(isCausal: false), .share,
                    "the same, attention over the whole sequence",
                    source: "Insights into DeepSeek-V3, Table 4"),
                Figure(
                    "rank-hours", hours, .hours,
                    "\(Figure.digits(request.trainingTokens)) tokens / tokens/s per rank / 3600",
                    source: "DeepSeek-V3 report, 4.2"),
                Figure(
                    "cost of the run", hours * price, .dollars,
                    "rank-hours x $\(Figure.digits(price)) (prices.rankHourDollars)",
                    source: request.file),
            ])
        return (times.step, perRank)
    }

    private mutating func writeLayers(_ times: LayerTimes) {
        let overlap =
            request.overlaps
            ? "2 x max(computing, travel) of half the batch, or their sum if that is less"
            : "computing + travel"
        add(
            "one layer",
            [
                Figure(
                    "computing", times.compute, .seconds,
                    "attention projections and core, joining over TP, gate, shared and routed "
                        + "experts",
                    source: Self.roofline),
                Figure(
                    "travel", times.travel, .seconds, "dispatch and combine of the whole batch",
                    source: Self.insights),
                Figure("layer", times.block, .seconds, overlap, source: Self.insights),
                Figure(
                    "travel that is hidden", times.hiddenShare, .share,
                    "(computing + travel - layer) / travel", source: "this plan"),
                Figure("dense layer", times.dense, .seconds, "no travel", source: Self.roofline),
                Figure("head", times.head, .seconds, "vocabulary x h, bf16", source: Self.roofline),
            ])
    }

    private mutating func writeRates(_ perRank: Double, operations: Double) {
        let perNode = perRank * Double(min(layout.ranksPerNode, layout.rankCount))
        var figures = [
            Figure(
                "per rank", perRank, .tokensPerSecond, "tokens of the plan / time / ranks",
                source: "this plan"),
            Figure(
                "per node", perNode, .tokensPerSecond, "per rank x \(layout.ranksPerNode)",
                source: "this plan"),
            Figure(
                "all \(layout.rankCount) ranks", perRank * Double(layout.rankCount),
                .tokensPerSecond, "per rank x ranks", source: "this plan"),
            Figure(
                "share of the bf16 peak",
                perRank * operations / layout.processor.bf16OperationsPerSecond, .share,
                "tokens/s x \(Figure.text(operations, .operations)) per token / peak",
                source: "Insights into DeepSeek-V3, Table 2"),
        ]
        if let price = request.map.hardware?.prices?.rankHourDollars {
            figures.append(
                Figure(
                    "cost of a million tokens", price / 3600 / perRank * 1e6, .dollars,
                    "$\(Figure.digits(price)) per rank-hour / 3600 / tokens/s per rank x 1e6",
                    source: request.file))
        }
        if let cost = NetworkCost(request.map) {
            figures.append(
                Figure(
                    "network, whole and fully built", cost.dollars, .dollars, cost.formula,
                    source: "Insights into DeepSeek-V3, Table 3"))
        }
        add("rates and costs", figures)
    }
}
