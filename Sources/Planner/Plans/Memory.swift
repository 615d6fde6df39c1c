import Pipeline
import Topology

/// What the fullest rank holds, in bytes.
package struct Memory: Sendable {
    /// Weights as they are multiplied.
    package var weights = 0.0
    /// Cache of all contexts.
    package var cache = 0.0
    /// Windows of the exchange.
    package var buffers = 0.0
    /// What layers hand on, and the logits.
    package var activations = 0.0
    /// Gradients, master weights and moments.
    package var optimizer = 0.0
    /// How each was computed.
    package var formulas: [String: String] = [:]

    /// All of it.
    package var total: Double { weights + cache + buffers + activations + optimizer }
}

extension Layout {
    /// Parameters of a rank: the routed experts' and all others, of the stage with most.
    ///
    /// Embedding and head stand on one rank, which the report co-locates for DualPipe (3.2.3).
    package var parameters: (experts: Double, others: Double) {
        let model = request.model
        let moe = Double(expertLayersPerStage)
        let dense = Double(layersPerStage) - moe
        let experts = moe * Double(expertsPerRank) * model.expertParameters
        let attention = Double(layersPerStage) * model.attentionParameters / Double(request.tp)
        let others =
            attention + moe * (model.gateParameters + model.sharedParameters)
            + dense * model.denseParameters / Double(request.tp)
        let copies = request.phase == .train ? Double(request.schedule.parameterCopies) : 1
        return (experts * copies, others * copies)
    }

    /// - Throws: `PlanError.sizes` when it is more than a rank has.
    package func memory() throws(PlanError) -> Memory {
        let memory = request.phase == .train ? trainingMemory : servingMemory
        guard memory.total <= processor.memoryBytes else {
            throw .sizes(
                option: "--batch \(request.batch) --context \(request.context)",
                fact: "needs \(Figure.text(memory.total, .bytes)) on a rank (weights "
                    + "\(Figure.text(memory.weights, .bytes)), cache "
                    + "\(Figure.text(memory.cache, .bytes)), buffers "
                    + "\(Figure.text(memory.buffers, .bytes)), activations "
                    + "\(Figure.text(memory.activations, .bytes)), optimizer "
                    + "\(Figure.text(memory.optimizer, .bytes))): \(request.file) has "
                    + "\(Figure.text(processor.memoryBytes, .bytes)) (processor.memoryGigabytes)")
        }
        return memory
    }

    private var tables: Double {
        2 * request.model.tableParameters / Double(request.tp) * 2
    }

    private var bytesText: String {
        let all = "\(Figure.digits(weightBytes)) B"
        guard expertWeightBytes != weightBytes else { return all }
        return "\(all) (\(Figure.digits(expertWeightBytes)) B of a routed expert)"
    }

    private var servingMemory: Memory {
        let model = request.model
        var memory = Memory()
        let (experts, others) = parameters
        memory.weights = experts * expertWeightBytes + others * weightBytes + tables
        memory.formulas["weights"] =
            "(\(layersPerStage) layers x (attention / TP + gate + shared) + \(expertLayersPerStage)"
            + " x \(expertsPerRank) experts x 3 h I) x \(bytesText) + embedding "
            + "and head in bf16"
        memory.cache =
            Double(request.batch * request.context) * model.cacheBytesPerToken()
            * model.cacheShare(tp: request.tp)
        memory.formulas["cache"] =
            "B \(request.batch) x C \(request.context) x (\(model.cacheWidth) values x "
            + "\(model.layers) layers + \(model.indexer?.size ?? 0) of an indexer's key x "
            + "\(model.indexer?.layers ?? 0)) x 2 B, heads of grouped queries shared over TP"
        let tokens =
            Double(request.phase == .decode ? request.batch : request.batch * request.context)
            / Double(request.tp)
        let exchange = exchange(tokens: tokens)
        switch (exchange.style, model.routedExperts) {
        case (_, 0): break
        case (.direct, _):
            memory.buffers = Buffers.direct(
                tokens: tokens, hidden: model.hidden,
                experts: model.routedExperts + request.redundantExperts)
            memory.formulas["buffers"] =
                "2 x (send + receive), each experts x tokens x (2h + h/128 x 4)"
        case (.deduplicated, _):
            memory.buffers =
                2 * tokens * Double(model.activeExperts)
                * (exchange.dispatchBytes + exchange.combineBytes)
            memory.formulas["buffers"] = "2 x tokens x k x (dispatch + combine bytes)"
        }
        let width =
            4 * model.hidden + 2 * (model.activeExperts + model.sharedExperts) * model.expertWidth
            + 2 * (model.routedExperts == 0 ? model.denseWidth : 0)
        memory.activations =
            tokens * Double(width) * 2 + Double(request.batch * model.vocabulary) * 4
        memory.formulas["activations"] =
            "tokens x (4h + 2 (k + shared) I) x 2 B + B x vocabulary x 4 B of logits"
        return memory
    }

    private var trainingMemory: Memory {
        let model = request.model
        var memory = Memory()
        let (experts, others) = parameters
        memory.weights = experts * expertWeightBytes + others * weightBytes + tables
        memory.formulas["weights"] =
            "\(request.schedule.parameterCopies) copies of a stage of \(layersPerStage) layers, "
            + "\(expertsPerRank) experts each, x \(bytesText) + tables in bf16"
        // FP32 gradients stay whole; ZeRO-1 shares FP32 masters and bf16 moments over the copies.
        let expertCopies = max(1, Double(dp * request.tp) / Double(ep))
        let table = 2 * model.tableParameters / Double(request.tp)
        memory.optimizer =
            4 * (experts + others + table)
            + 8 * (experts / expertCopies + (others + table) / Double(dp))
        memory.formulas["optimizer"] =
            "4 B of gradients + 8 B of master weights and moments / copies (DP \(dp), experts "
            + "\(Figure.digits(expertCopies)))"
        let inFlight = request.schedule == .dualPipe ? request.pp + 1 : request.pp
        let cells = Double(min(inFlight, request.batch))
        memory.activations =
            cells * Double(request.context * layersPerStage) * keptBytesPerToken
            / Double(request.tp)
        memory.formulas["activations"] =
            "\(Figure.digits(cells)) micro-batches in flight x \(request.context) tokens x "
            + "\(layersPerStage) layers x \(Figure.digits(keptBytesPerToken)) B"
        if model.routedExperts > 0 {
            let exchange = exchange(tokens: Double(request.context) / Double(request.tp))
            memory.buffers =
                2 * exchange.tokens * Double(model.activeExperts)
                * (exchange.dispatchBytes + exchange.combineBytes)
        }
        memory.formulas["buffers"] = "2 x tokens x k x (dispatch + combine bytes)"
        return memory
    }

    /// What a layer keeps of a token for its backward when norms and up-projections are computed
    /// again and inputs of the experts are kept in FP8 (V3 report, 3.2.3 and 3.3.3).
    private var keptBytesPerToken: Double {
        let model = request.model
        let attention =
            switch model.attention {
            case .latent(let query, let latent, let rope, _, let value):
                (query ?? 0) + latent + rope + model.heads * value
            case .grouped(let keyValueHeads, let headSize, _):
                (model.heads * 2 + 2 * keyValueHeads) * headSize
            }
        let experts =
            (model.activeExperts + model.sharedExperts) * (model.hidden + 2 * model.expertWidth)
        let dense = model.routedExperts == 0 ? model.hidden + 2 * model.denseWidth : 0
        return Double(2 * (model.hidden + attention) + experts + dense)
    }
}

/// Windows that an exchange needs.
package enum Buffers {
    /// For direct exchange in the worst case: every token of every rank to one expert.
    ///
    /// Source: DeepEP, `get_low_latency_rdma_size_hint`.
    package static func direct(tokens: Double, hidden: Int, experts: Int) -> Double {
        let dispatch = 16 + 2 * Double(hidden)
        let combine = 2 * Double(hidden) + Double(hidden) / 128 * 4
        let half = Double(experts) * tokens * max(dispatch, combine)
        return 2 * (half + half + Double(experts) * 4)
    }
}
