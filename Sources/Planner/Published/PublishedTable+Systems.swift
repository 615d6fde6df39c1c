extension PublishedTable {
    /// Units of prefill and decode, and what the online system earns.
    static var systems: PublishedTable {
        let day6 = "open-infra-index, Day 6 (One More Thing)"
        let v3 = "DeepSeek-V3 report, 3.4"
        func figure(
            _ name: String, _ published: Double, _ computed: Double, _ unit: Figure.Unit,
            _ formula: String, _ source: String
        ) -> PublishedFigure {
            PublishedFigure(name, published, computed, unit, formula, source: source)
        }
        let (input, hits, output) = (608e9, 342e9, 168e9)
        let (prefillPerNode, decodePerNode) = (73.7e3, 14.8e3)
        let cost = 226.75 * 8 * 2 * 24
        let revenue = (hits * 0.14 + (input - hits) * 0.55 + output * 2.19) / 1e6
        let prefillNodes = input / 86400 / prefillPerNode
        let decodeNodes = output / 86400 / decodePerNode
        return PublishedTable(
            "serving of DeepSeek-V3",
            [
                figure(
                    "experts of a rank, prefill EP32", 9, (256 + 32) / 32, .count,
                    "(256 + 32 redundant) / 32", v3),
                figure(
                    "experts of a rank, decode EP320", 1, (256 + 64) / 320, .count,
                    "(256 + 64 for redundant and shared) / 320", v3),
                figure(
                    "experts of a rank, decode EP144", 2, (256 + 32) / 144, .count,
                    "(256 + 32 redundant) / 144", day6),
                figure(
                    "ranks of the prefill unit", 32, 4 * 8, .count, "TP 4 x DP 8", v3),
                figure(
                    "ranks of the decode unit", 320, 4 * 80, .count, "TP 4 x DP 80", v3),
                figure(
                    "cost of a day", 87072, cost, .dollars,
                    "226.75 nodes x 8 GPUs x $2 x 24 h", day6),
                figure("cache hits", 0.563, hits / input, .share, "342B / 608B", day6),
                figure(
                    "mean nodes in use", 226.75, prefillNodes + decodeNodes, .count,
                    "608B / 86400 / 73.7k of prefill + 168B / 86400 / 14.8k of decode", day6),
                figure(
                    "revenue of a day", 562_027, revenue, .dollars,
                    "342B x $0.14/M + 266B x $0.55/M + 168B x $2.19/M (R1's prices)", day6),
                figure(
                    "margin over cost", 5.45, (revenue - cost) / cost, .share,
                    "(revenue - cost) / cost", day6),
                // Stated: 20 to 22 tokens/s, and 14.8k tokens/s of a node of 8.
                figure(
                    "requests of a decode GPU", 88, decodePerNode / 8 / 21, .count,
                    "14.8k / 8 GPUs / 21 tokens/s of a request", day6),
                figure(
                    "cost of 1M output tokens, SGLang", 0.20, 8 * 2 / 3600 / 22.3e3 * 1e6,
                    .dollars, "8 GPUs x $2 / 3600 / 22.3k tokens/s of a node x 1e6",
                    "SGLang, large-scale EP on 96 H100"),
            ])
    }
}
