package import Topology

/// A request whose sizes fit together: who holds what.
package struct Layout: Sendable {
    /// What was asked.
    package let request: PlanRequest
    /// What computes.
    package let processor: Hardware.Processor
    /// What the links carry.
    package let rates: LinkRates
    /// Copies of what is not an expert.
    package let dp: Int
    /// Ranks that share the routed experts.
    package let ep: Int
    /// Ranks of a full node.
    package let ranksPerNode: Int

    /// All ranks of the plan.
    package var rankCount: Int { request.pp * dp * request.tp }
    /// Nodes that the ranks of one group of experts are on.
    package var expertNodes: Int { (ep + ranksPerNode - 1) / ranksPerNode }
    /// Routed experts of a block on a rank, redundant ones included.
    package var expertsPerRank: Int {
        (request.model.routedExperts + request.redundantExperts) / max(1, ep)
    }
    /// Blocks of the largest stage.
    package var layersPerStage: Int {
        (request.model.layers + request.pp - 1) / request.pp
    }
    /// Blocks with experts of the largest stage.
    package var expertLayersPerStage: Int { min(layersPerStage, request.model.expertLayers) }

    /// - Throws: `PlanError` with the option, its value and the limit.
    package init(_ request: PlanRequest) throws(PlanError) {
        self.request = request
        guard let processor = request.map.hardware?.processor else {
            throw .topology(
                file: request.file, field: "processor",
                fact: "is missing: a plan needs what computes")
        }
        self.processor = processor
        rates = try LinkRates(request.map, file: request.file)
        ranksPerNode = request.map.nodes.map(\.ranks).max() ?? 1
        try Self.checkCounts(request)
        let all = request.map.rankCount
        let perCopy = request.pp * request.tp
        let wanted = request.dp ?? request.ep.map { max(1, $0 / request.tp) }
        let room = max(1, all / perCopy)
        dp = (request.phase == .train ? request.dp : wanted) ?? room
        ep = request.model.routedExperts == 0 ? 1 : request.ep ?? dp * request.tp
        guard rankCount <= all else {
            throw .sizes(
                option: "--pp \(request.pp) x --dp \(dp) x --tp \(request.tp)",
                fact: "needs \(rankCount) ranks: \(request.file) has \(all)")
        }
        try checkDivisions()
    }

    private static func checkCounts(_ request: PlanRequest) throws(PlanError) {
        let model = request.model
        let most = 1 << 20
        for (option, value, limit, origin) in [
            ("--ep", request.ep ?? 1, most, "ranks"), ("--dp", request.dp ?? 1, most, "ranks"),
            ("--pp", request.pp, model.layers, "num_hidden_layers"),
            ("--tp", request.tp, model.heads, "num_attention_heads"),
            ("--batch", request.batch, most, "requests"),
            ("--context", request.context, 1 << 24, "tokens"),
        ] where !(1 ... limit).contains(value) {
            throw .sizes(option: "\(option) \(value)", fact: "is not 1 to \(limit) (\(origin))")
        }
        guard (0 ... 65536).contains(request.redundantExperts) else {
            throw .sizes(
                option: "--redundant-experts \(request.redundantExperts)",
                fact: "is not 0 to 65536")
        }
        guard model.heads.isMultiple(of: request.tp) else {
            throw .sizes(
                option: "--tp \(request.tp)",
                fact: "does not divide the \(model.heads) heads (num_attention_heads)")
        }
        guard request.phase != .train || request.weights != .int4 else {
            throw .sizes(option: "--weights int4", fact: "is not trained, only served")
        }
        guard (0 ... 1).contains(request.acceptance) else {
            throw .sizes(option: "--acceptance \(request.acceptance)", fact: "is not 0 to 1")
        }
    }

    private func checkDivisions() throws(PlanError) {
        let model = request.model
        guard model.routedExperts > 0 else { return }
        let physical = model.routedExperts + request.redundantExperts
        guard ep <= physical else {
            throw .sizes(
                option: "--ep \(ep)",
                fact: "is more ranks than the \(model.routedExperts) experts (n_routed_experts) "
                    + "and \(request.redundantExperts) redundant ones")
        }
        guard (dp * request.tp).isMultiple(of: ep) else {
            throw .sizes(
                option: "--ep \(ep)",
                fact: "does not divide the \(dp * request.tp) ranks of a stage (--dp \(dp) x --tp "
                    + "\(request.tp))")
        }
        guard physical.isMultiple(of: ep) else {
            let next = (physical + ep - 1) / ep * ep - model.routedExperts
            throw .sizes(
                option: "--redundant-experts \(request.redundantExperts)",
                fact: "makes \(physical) experts, which \(ep) ranks (--ep) do not divide; "
                    + "\(next) would")
        }
    }

    /// The spread of a token's experts over the ranks of one group.
    package var spread: Spread {
        Spread(
            experts: max(1, request.model.routedExperts), active: request.model.activeExperts,
            ranks: ep, nodes: expertNodes, groups: request.model.expertGroups,
            keptGroups: request.model.keptGroups)
    }

    /// One dispatch and combine of `tokens` from each rank.
    package func exchange(tokens: Double) -> PlannedExchange {
        PlannedExchange(
            tokens: request.model.routedExperts == 0 ? 0 : tokens, hidden: request.model.hidden,
            spread: spread, redundantExperts: request.redundantExperts,
            style: request.style ?? (request.phase == .decode ? .direct : .deduplicated),
            dispatch: request.dispatch, combine: request.combine)
    }

    /// Bytes of a weight of a routed expert.
    package var expertWeightBytes: Double {
        request.weights == .int4 ? 0.5 + 2.0 / 32 : weightBytes
    }

    /// Bytes of any other weight.
    package var weightBytes: Double {
        // A 32-bit scale for each block of 128 x 128 (`weight_scale_inv`).
        request.weights == .fp8 ? 1 + 4.0 / 16384 : 2
    }
}
