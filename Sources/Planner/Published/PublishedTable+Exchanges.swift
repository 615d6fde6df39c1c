extension PublishedTable {
    /// DeepEP's published tables, predicted with one set of constants for all of them: links reach
    /// the shares below of their rates, and half an exchange costs 27 us beyond its bytes where it
    /// is a low-latency one (a normal one moves megabytes for milliseconds).
    ///
    /// Rates are those of the machines: InfiniBand 50 GB/s; NVLink 200 GB/s each way on H800, 450
    /// on the SM90 of V2's table, which the source does not name, and 900 on SM100.
    package enum DeepEPConstants {
        /// Share of its rate that InfiniBand reaches.
        package static let nicEfficiency = 0.88
        /// Share of its rate that NVLink reaches.
        package static let nodeEfficiency = 0.78
        /// What a half costs beyond its bytes, seconds.
        package static let fixedSeconds = 27e-6
    }

    private static func rates(nvlink: Double, fixed: Double) -> LinkRates {
        LinkRates(
            nicBytesPerSecond: 50e9, nicEfficiency: DeepEPConstants.nicEfficiency,
            nodeBytesPerSecond: nvlink, nodeEfficiency: DeepEPConstants.nodeEfficiency,
            fixedSeconds: fixed)
    }

    /// The tables of DeepEP's README, and of the paper that measured it on 128 GPUs.
    static var exchanges: [PublishedTable] {
        let v1 = "DeepEP README, V1 normal kernels, H800, 4096 tokens, 7168, top-4 groups, top-8"
        let v2 = "DeepEP README, V2, 8192 tokens, 7168, top-8"
        let figure7 = "Insights into DeepSeek-V3, Figure 7, 4096 tokens per GPU"
        return [
            PublishedTable(
                "DeepEP normal, V1 (logical bandwidth)", isMeasured: true,
                [(8, 153, 158), (16, 43, 43), (32, 58, 57), (64, 51, 50)].flatMap {
                    normal($0, $1, $2, tokens: 4096, nvlink: 200e9, source: v1)
                }),
            PublishedTable(
                "DeepEP normal, multi-plane fat tree", isMeasured: true,
                [(16, 43.05, 42.47), (32, 58.02, 56.96), (64, 50.58, 48.54), (128, 45.34, 41.60)]
                    .flatMap {
                        normal($0, $1, $2, tokens: 4096, nvlink: 200e9, source: figure7)
                    }),
            PublishedTable(
                "DeepEP normal, V2", isMeasured: true,
                [(16, 90, 81), (32, 61, 61)].flatMap {
                    normal($0, $1, $2, tokens: 8192, nvlink: 450e9, source: v2 + ", SM90 CX7")
                }
                    + [(16, 90, 91), (8, 726, 740)].flatMap {
                        normal(
                            $0, $1, $2, tokens: 8192, nvlink: 900e9, source: v2 + ", SM100",
                            suffix: ", SM100")
                    }
                    // The model counts no SMs: 24 of them do not fill NVLink.
                    + normal(
                        8, 643, 675, tokens: 8192, nvlink: 900e9, source: v2 + ", SM100, 24 SMs",
                        suffix: ", SM100, 24 SMs")),
            PublishedTable(
                "DeepEP low latency, V1", isMeasured: true,
                [
                    (8, 77, 114), (16, 118, 195), (32, 155, 273), (64, 173, 314),
                    (128, 192, 369), (256, 194, 360),
                ].flatMap { lowLatency($0, $1, $2) }),
        ]
    }

    /// Bandwidths of normal kernels, as DeepEP counts them: bytes of every distinct node, or on one
    /// node of every distinct rank, its own included, over the time.
    private static func normal(
        _ ranks: Int, _ dispatch: Double, _ combine: Double, tokens: Double, nvlink: Double,
        source: String, suffix: String = ""
    ) -> [PublishedFigure] {
        let nodes = ranks / 8
        let spread = Spread(
            experts: 256, active: 8, ranks: ranks, nodes: nodes, groups: nodes,
            keptGroups: min(nodes, 4))
        let exchange = PlannedExchange(
            tokens: tokens, hidden: 7168, spread: spread, style: .deduplicated)
        let links = rates(nvlink: nvlink, fixed: 0)
        let logical = nodes == 1 ? spread.distinctRanks : spread.distinctNodes
        let halves = [
            ("dispatch", dispatch, exchange.dispatchBytes, exchange.dispatch(over: links)),
            ("combine", combine, exchange.combineBytes, exchange.combine(over: links)),
        ]
        return halves.map { name, published, bytes, travel in
            PublishedFigure(
                "EP \(ranks) \(name)\(suffix)", published * 1e9,
                tokens * logical * bytes / travel.seconds, .bytesPerSecond,
                "\(Figure.digits(logical)) destinations x tokens x bytes / max(NIC "
                    + "\(Figure.text(travel.nicSeconds, .seconds)), NVLink "
                    + "\(Figure.text(travel.nodeSeconds, .seconds)))", source: source)
        }
    }

    /// Times of low-latency kernels.
    private static func lowLatency(
        _ ranks: Int, _ dispatch: Double, _ combine: Double
    ) -> [PublishedFigure] {
        let spread = Spread(
            experts: 256, active: 8, ranks: ranks, nodes: ranks / 8, groups: 1, keptGroups: 1)
        let exchange = PlannedExchange(tokens: 128, hidden: 7168, spread: spread, style: .direct)
        let links = rates(nvlink: 200e9, fixed: DeepEPConstants.fixedSeconds)
        let halves = [
            ("dispatch", dispatch, exchange.dispatch(over: links)),
            ("combine", combine, exchange.combine(over: links)),
        ]
        return halves.map { name, published, travel in
            PublishedFigure(
                "EP \(ranks) \(name)", published * 1e-6, travel.seconds, .seconds,
                "27 us + max(NIC \(Figure.text(travel.nicSeconds, .seconds)), NVLink "
                    + "\(Figure.text(travel.nodeSeconds, .seconds)))",
                source: "DeepEP README, V1 low-latency kernels, H800, 128 tokens, 7168, top-8")
        }
    }
}
