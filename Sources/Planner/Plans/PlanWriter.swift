import Topology

/// Writes the figures of a plan, group by group, each with its formula and source.
struct PlanWriter {
    static let roofline =
        "roofline: the longer of operations and bytes (Williams et al. 2009); rates of the file"
    static let insights = "Insights into DeepSeek-V3, 2.3.2"

    let layout: Layout
    let memory: Memory
    var groups: [PlanReport.Group] = []

    var request: PlanRequest { layout.request }

    init(layout: Layout, memory: Memory) {
        self.layout = layout
        self.memory = memory
        writeMemory()
        writeExchange()
    }

    mutating func add(_ title: String, _ figures: [Figure]) {
        groups.append(PlanReport.Group(title: title, figures: figures))
    }

    private mutating func writeMemory() {
        func part(_ name: String, _ value: Double, _ source: String) -> Figure {
            let formula = memory.formulas[name] ?? "none in this phase"
            return Figure(name, value, .bytes, formula, source: source)
        }
        let shape = "config.json of \(request.model.name)"
        add(
            "memory of the fullest rank",
            [
                part("weights", memory.weights, shape),
                part("cache", memory.cache, "Insights into DeepSeek-V3, Table 1; \(shape)"),
                part("buffers", memory.buffers, "DeepEP, get_low_latency_rdma_size_hint"),
                part("activations", memory.activations, "DeepSeek-V3 report, 3.2.3 and 3.3.3"),
                part("optimizer", memory.optimizer, "DeepSeek-V3 report, 3.3.3; ZeRO-1"),
                Figure(
                    "memory in all", memory.total, .bytes,
                    "sum of the above; the limit is processor.memoryGigabytes, "
                        + Figure.text(layout.processor.memoryBytes, .bytes),
                    source: request.file),
            ])
    }

    /// Tokens that a rank sends in one dispatch of the whole batch.
    private var tokensPerRank: Double {
        let all = Double(request.batch) * (request.phase == .decode ? 1 : Double(request.context))
        let one = request.phase == .train ? Double(request.context) : all
        return one / Double(request.tp)
    }

    private mutating func writeExchange() {
        guard request.model.routedExperts > 0, layout.ep > 1 else { return }
        let exchange = layout.exchange(tokens: tokensPerRank)
        let out = exchange.dispatch(over: layout.rates)
        let home = exchange.combine(over: layout.rates)
        let copies = exchange.style == .direct ? "k x (1 - near)" : "distinct nodes x (1 - near)"
        let source = "\(Self.insights); DeepSeek-V3 report, 3.2.2; DeepEP"
        let number = Figure.digits
        let (there, back) = (exchange.dispatchBytes, exchange.combineBytes)
        func bytes(_ name: String, _ value: Double, _ per: Double, _ copies: Double) -> Figure {
            Figure(
                name, value, .bytes,
                "\(number(exchange.tokens)) tokens x \(number(copies)) copies x \(number(per)) B",
                source: source)
        }
        var figures = [
            Figure(
                "distinct nodes of a token", exchange.spread.distinctNodes, .count,
                "G (1 - C(E - E/G, k) / C(E, k)), G = \(exchange.spread.nodeLimit) nodes "
                    + "in reach of \(exchange.spread.nodes)",
                source: "DeepEP V2's analytical model; V3 report, 2.1.2"),
            Figure(
                "copies of a token that leave its node", exchange.remoteCopies, .count,
                "\(copies), near = \(number(exchange.nearShare)) with "
                    + "\(request.redundantExperts) redundant experts",
                source: source),
            bytes("dispatch through the NIC", out.nicBytes, there, exchange.remoteCopies),
            bytes("combine through the NIC", home.nicBytes, back, exchange.remoteCopies),
            bytes("dispatch inside the node", out.nodeBytes, there, exchange.localCopies),
            bytes("combine inside the node", home.nodeBytes, back, exchange.localCopies),
        ]
        figures += linkTimes(out, home)
        add("one dispatch and combine of a layer", figures)
    }

    private func linkTimes(
        _ out: PlannedExchange.Travel, _ home: PlannedExchange.Travel
    ) -> [Figure] {
        let rates = layout.rates
        func time(_ name: String, _ value: Double, _ formula: String) -> Figure {
            Figure(name, value, .seconds, formula, source: request.file)
        }
        let nic = Figure.text(rates.reachedByNIC, .bytesPerSecond)
        let inside = Figure.text(rates.reachedInNode, .bytesPerSecond)
        let narrow = rates.narrowSwitch.map {
            " / \(Figure.digits(rates.oversubscription)) at \($0)"
        }
        let bottleneck =
            home.isBoundByNIC
            ? rates.narrowSwitch.map { "links above \($0)" } ?? "NIC" : "link inside the node"
        return [
            time(
                "NIC, dispatch", out.nicSeconds,
                "bytes / \(nic) (a rank's share of all planes x efficiency\(narrow ?? ""))"),
            time("NIC, combine", home.nicSeconds, "bytes / \(nic)"),
            time("inside the node, dispatch", out.nodeSeconds, "bytes / \(inside)"),
            time("inside the node, combine", home.nodeSeconds, "bytes / \(inside)"),
            time(
                "dispatch and combine", out.seconds + home.seconds,
                "2 x exchangeMicroseconds \(Figure.text(out.fixedSeconds, .seconds)) + the slower "
                    + "link of each; bottleneck: \(bottleneck)"),
            Figure(
                "bottleneck link's share of it",
                (max(out.nicSeconds, out.nodeSeconds) + max(home.nicSeconds, home.nodeSeconds))
                    / max(out.seconds + home.seconds, .leastNormalMagnitude), .share,
                "time on the \(bottleneck) / dispatch and combine", source: request.file),
        ]
    }

    func report() -> PlanReport {
        let model = request.model
        let sizes =
            "EP \(layout.ep), PP \(request.pp), DP \(layout.dp), TP \(request.tp), "
            + "\(request.redundantExperts) redundant experts"
        let reached = Figure.text(layout.processor.computeEfficiency, .share)
        let read = Figure.text(layout.processor.memoryEfficiency, .share)
        var assumptions = [
            "routing is even over experts: no rank waits for a busier one",
            "a copy of an expert on the token's own node is chosen where there is one",
            "large products reach \(reached) of the processor's peak and reads \(read) of its "
                + "memory's rate (\(request.file))",
        ]
        if request.phase == .prefill {
            assumptions.append("all prompts of the batch are there at once: TTFT has no queue")
        }
        if layout.rates.fixedSeconds == 0 {
            assumptions.append("an exchange costs nothing beyond its bytes (exchangeMicroseconds)")
        }
        return PlanReport(
            title: "\(request.phase.rawValue) of \(model.name) on \(request.map.name): "
                + "\(layout.rankCount) ranks, \(sizes), batch \(request.batch), context "
                + "\(request.context)",
            groups: groups, assumptions: assumptions,
            omissions: [
                "contention between flows inside the switches, and routes that collide",
                "latency of single messages, beyond exchangeMicroseconds of a whole exchange",
                "uneven routing, stragglers, retries and lost packets",
                "norms, gate, sampling, quantising, launching, and moving the cache between nodes",
                "slower computing while an exchange runs on the same cores",
            ])
    }
}
