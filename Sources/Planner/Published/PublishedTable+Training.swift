import Pipeline
import Topology

extension PublishedTable {
    private static let table4 = "Insights into DeepSeek-V3, Table 4"
    private static let report = "DeepSeek-V3 report, 4.2 and Table 1"
    /// Ranks of the training cluster.
    private static let ranks = 2048.0
    /// Peak of an H800 in bf16, operations per second.
    private static let peak = 989.5e12
    /// Tokens of a step: 15,360 sequences of 4096.
    private static let stepTokens = 15360.0 * 4096

    private static func run(tokensPerDay: Double) -> TrainingRate {
        TrainingRate(
            tokensPerSecondPerRank: tokensPerDay / 86400 / ranks, model: .deepSeekV3,
            sequence: 4096, peak: peak)
    }

    /// The training of DeepSeek-V3.
    static var training: PublishedTable {
        let (mpft, mrft) = (run(tokensPerDay: 272.80e9), run(tokensPerDay: 272.52e9))
        func rates(_ run: TrainingRate, _ name: String, _ shares: [Double]) -> [PublishedFigure] {
            [false, true].enumerated().map { index, isCausal in
                PublishedFigure(
                    "MFU \(isCausal ? "causal" : "not causal"), \(name)", shares[index],
                    run.utilization(isCausal: isCausal), .share,
                    "tokens per day / 86400 / 2048 x operations per token / 989.5 TFLOPS",
                    source: table4)
            }
        }
        func figure(
            _ name: String, _ published: Double, _ computed: Double, _ unit: Figure.Unit,
            _ formula: String, _ source: String
        ) -> PublishedFigure {
            PublishedFigure(name, published, computed, unit, formula, source: source)
        }
        let perTrillion = mpft.hours(tokens: 1e12)
        let hours = (14.8 * 180e3).rounded() + 119e3 + 5e3
        return PublishedTable(
            "training of DeepSeek-V3",
            [
                figure(
                    "TFLOPS, not causal", 432e12, mpft.operationsPerSecond(isCausal: false),
                    .operations, "tokens per day / 86400 / 2048 x 281.15 GFLOP", table4),
                figure(
                    "TFLOPS, causal", 385e12, mpft.operationsPerSecond(isCausal: true),
                    .operations, "tokens per day / 86400 / 2048 x 250.45 GFLOP", table4),
            ] + rates(mpft, "MPFT", [0.4373, 0.3894]) + rates(mrft, "MRFT", [0.4368, 0.3890]) + [
                figure(
                    "tokens of a step", 62.91e6, 19.926 * 272.80e9 / 86400, .tokens,
                    "19.926 s x 272.80e9 / 86400 = 15360 x 4096", table4),
                figure(
                    "tokens per day, MPFT", 272.80e9, stepTokens / 19.926 * 86400, .tokens,
                    "15360 x 4096 / 19.926 s x 86400", table4),
                figure(
                    "tokens per day, MRFT", 272.52e9, stepTokens / 19.946 * 86400, .tokens,
                    "15360 x 4096 / 19.946 s x 86400", table4),
                figure(
                    "step, MPFT", 19.926, 1.13 + 2.06 + 1.99 + 0.48 + 13.95 + 0.29, .seconds,
                    "1F + bubble + 1B + 1W + 1F1B + optimizer", table4),
                figure(
                    "GPU-hours per 1T tokens", 180.18e3, perTrillion, .hours,
                    "1e12 / tokens per second / 3600 x 2048", "Table 4; report, 3"),
                figure(
                    "days per 1T tokens", 3.7, perTrillion / ranks / 24, .count,
                    "180.18K / 2048 / 24", report),
                figure(
                    "pre-training GPU-hours", 2664e3, perTrillion * 14.8, .hours,
                    "14.8T tokens at that rate", report),
                figure(
                    "all GPU-hours", 2788e3, hours, .hours,
                    "14.8 x 180K + 119K (context) + 5K (post-training)", report),
                figure("cost", 5.576e6, hours * 2, .dollars, "2788K x $2", report),
                figure(
                    "sequences of a DP copy per step", 120, 15360 / (ranks / 16), .count,
                    "15360 / (2048 / PP 16)", "DeepSeek-V3 report, 3.1 and 4.2"),
                figure(
                    "NVLink over InfiniBand", 3.2, 160.0 / 50, .count, "160 / 50 GB/s",
                    "DeepSeek-V3 report, 3.2.2"),
                figure(
                    "experts of a token at the same cost", 13, (4 * 3.2 as Double).rounded(),
                    .count, "4 nodes x 3.2 experts per node", "DeepSeek-V3 report, 3.2.2"),
            ])
    }

    /// Networks of 64-port switches.
    static var networks: PublishedTable {
        let source = "Insights into DeepSeek-V3, Table 3"
        let prices = "switch $50k + link between switches $1.52k + endpoint $0.52k"
        var dragonfly = Network(family: .dragonfly, radix: 64, planes: .joined)
        (dragonfly.groups, dragonfly.switchesPerGroup) = (511, 32)
        (dragonfly.endpointsPerSwitch, dragonfly.globalLinksPerSwitch) = (16, 16)
        let rows: [(String, Network, Int, [Double])] = [
            ("FT2", Network(family: .fatTree2, radix: 64), 1, [2048, 96, 2048, 9, 4.39]),
            ("MPFT", Network(family: .fatTree2, radix: 64), 8, [16384, 768, 16384, 72, 4.39]),
            ("FT3", Network(family: .fatTree3, radix: 64), 1, [65536, 5120, 131_072, 491, 7.5]),
            (
                "Slim Fly", Network(family: .slimFly, radix: 64, order: 28), 1,
                [32928, 1568, 32928, 146, 4.4]
            ),
            // The table prints 5.8, which is 1522 / 261.632 in two digits.
            ("Dragonfly", dragonfly, 1, [261_632, 16352, 384_272, 1522, 5.817]),
        ]
        return PublishedTable(
            "networks",
            rows.flatMap { name, network, planes, published in
                let counts = network.counts(planeCount: planes)
                let cost =
                    Double(counts.switches) * 50e3 + Double(counts.links) * 1520
                    + Double(counts.endpoints) * 520
                let computed = [
                    Double(counts.endpoints), Double(counts.switches), Double(counts.links),
                    cost / 1e6, cost / Double(counts.endpoints) / 1e3,
                ]
                let names = ["endpoints", "switches", "links", "M$", "k$ per endpoint"]
                return names.indices.map { index in
                    PublishedFigure(
                        "\(name), \(names[index])", published[index], computed[index], .count,
                        index < 3 ? network.formula : prices, source: source)
                }
            })
    }

    /// DualPipe by the simulation of its schedule.
    static var dualPipe: PublishedTable {
        let source = "DualPipe, README; unit times F = W = 1, B = 2, F&B = 3"
        var figures: [PublishedFigure] = []
        let rows: [(Int, Int, [Double])] = [
            (2, 4, [12, 0, 3]), (4, 8, [26, 2, 5]), (4, 20, [62, 2, 5]), (8, 16, [54, 6, 9]),
            (8, 20, [66, 6, 9]), (8, 32, [102, 6, 9]), (16, 32, [110, 14, 17]),
            (16, 60, [194, 14, 17]),
        ]
        func simulated(_ kind: ScheduleKind, _ ranks: Int, _ count: Int) -> Simulation? {
            try? kind.schedule(ranks: ranks, microBatches: count).simulate()
        }
        for (ranks, count, published) in rows {
            guard let result = simulated(.dualPipe, ranks, count) else { continue }
            let computed = [
                result.makespan, result.bubbles.max() ?? -1,
                Double(result.peakActivations.max() ?? -1),
            ]
            for (index, name) in ["makespan", "bubble", "activations"].enumerated() {
                figures.append(
                    PublishedFigure(
                        "PP \(ranks), \(count) chunks, \(name)", published[index],
                        computed[index], .count, "simulation of the schedule", source: source))
            }
        }
        figures.append(
            PublishedFigure(
                "1F1B, PP 8, 20 chunks, makespan", 81,
                simulated(.oneForwardOneBackward, 8, 20)?.makespan ?? -1, .count,
                "simulation of the schedule", source: source))
        let uneven = StepCosts(overlapped: 2.5)
        figures.append(
            PublishedFigure(
                "closed form at F&B 2.5", 4.5, uneven.publishedBubble(.dualPipe, ranks: 8) ?? -1,
                .count, "(PP/2 - 1)(F&B + B - 3W)", source: source))
        let table = StepCosts(
            forward: 1.13, backwardInput: 1.51, backwardWeight: 0.48, overlapped: 2.8)
        figures.append(
            PublishedFigure(
                "closed form at Table 4's times", 10.05,
                table.publishedBubble(.dualPipe, ranks: 8) ?? -1, .count,
                "(PP/2 - 1)(2.8 + 1.99 - 3 x 0.48)", source: table4))
        return PublishedTable("DualPipe", figures)
    }
}
