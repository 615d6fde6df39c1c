extension PublishedTable {
    /// Speeds that wires allow, and what a token leaves in the cache.
    static var inference: PublishedTable {
        let insights = "Insights into DeepSeek-V3, 2.3.2"
        // "7K" is 7000 there.
        let infiniBand = PaperFormulas.exchangeSeconds(
            tokens: 32, copies: 9, hidden: 7000, bytesPerSecond: 50e9)
        let nvlink = PaperFormulas.exchangeSeconds(
            tokens: 32, copies: 9, hidden: 7000, bytesPerSecond: 900e9)
        let exact = PaperFormulas.exchangeSeconds(
            tokens: 32, copies: 9, hidden: 7168, bytesPerSecond: 50e9)
        let slow = PaperFormulas.outputSeconds(exchange: infiniBand, layers: 61)
        let fast = PaperFormulas.outputSeconds(exchange: nvlink, layers: 61)
        let formula = "(1 + 2) B x 32 tokens x 9 x 7000 / 50 GB/s"
        return PublishedTable(
            "inference limits",
            [
                PublishedFigure(
                    "exchange, CX7 400G", 120.96e-6, infiniBand, .seconds, formula,
                    source: insights),
                PublishedFigure(
                    "exchange, hidden 7168", 123.86e-6, exact, .seconds,
                    "the same with 7168 for 7000", source: insights),
                PublishedFigure(
                    "layer, CX7 400G", 241.92e-6, 2 * infiniBand, .seconds, "2 micro-batches",
                    source: insights),
                PublishedFigure(
                    "TPOT, CX7 400G", 14.76e-3, slow, .seconds, "61 layers x 2 x exchange",
                    source: insights),
                // The paper cuts 67.76 to 67.
                PublishedFigure(
                    "speed, CX7 400G", 67.76, 1 / slow, .tokensPerSecond, "1 / TPOT",
                    source: insights),
                PublishedFigure(
                    "exchange, GB200 NVL72", 6.72e-6, nvlink, .seconds,
                    "the same at 900 GB/s", source: insights),
                PublishedFigure(
                    "TPOT, GB200 NVL72", 0.82e-3, fast, .seconds, "61 layers x 2 x exchange",
                    source: insights),
                // The paper says about 1200.
                PublishedFigure(
                    "speed, GB200 NVL72", 1219.75, 1 / fast, .tokensPerSecond, "1 / TPOT",
                    source: insights),
                PublishedFigure(
                    "low-latency buffer", 2.147e9,
                    Buffers.direct(tokens: 128, hidden: 7168, experts: 288), .bytes,
                    "2 x (send + receive), each 288 experts x 128 tokens x (2h + h/128 x 4)",
                    source: "DeepEP, get_low_latency_rdma_size_hint(128, 7168, 288 experts)"),
            ])
    }

    /// What follows from a model's sizes.
    static var shapes: PublishedTable {
        let table1 = "Insights into DeepSeek-V3, Table 1"
        func cache(_ model: ModelShape, _ bytes: Double) -> PublishedFigure {
            PublishedFigure(
                "cache of a token, \(model.name)", bytes, model.cacheBytesPerToken(), .bytes,
                "\(model.cacheWidth) values x \(model.layers) layers x 2 B", source: table1)
        }
        let v3 = ModelShape.deepSeekV3
        return PublishedTable(
            "what a model's sizes give",
            [
                cache(v3, 70272), cache(.qwen72B, 327_680), cache(.llama405B, 516_096),
                PublishedFigure(
                    "cache, Qwen2.5-72B / V3", 4.66,
                    ModelShape.qwen72B.cacheBytesPerToken() / v3.cacheBytesPerToken(), .count,
                    "327,680 / 70,272", source: table1),
                PublishedFigure(
                    "cache, Llama-3.1-405B / V3", 7.28,
                    ModelShape.llama405B.cacheBytesPerToken() / v3.cacheBytesPerToken(), .count,
                    "516,096 / 70,272", source: table1),
                operations(v3, 250e9), operations(.deepSeekV2, 155e9),
                PublishedFigure(
                    "training operations, not causal", 281.15e9,
                    v3.trainingOperations(sequence: 4096, isCausal: false), .operations,
                    "the same, attention over the whole sequence", source: table2),
                PublishedFigure(
                    "parameters of V3", 671.03e9, v3.totalParameters, .count,
                    "sum over config.json", source: "config_671B.json; README_WEIGHTS"),
                PublishedFigure(
                    "activated, embedding left out", 36.6e9, v3.multipliedParameters, .count,
                    "8 + 1 experts of each block, head", source: "config_671B.json"),
                PublishedFigure(
                    "activated, with embedding", 37.55e9,
                    v3.multipliedParameters + v3.tableParameters, .count,
                    "8 + 1 experts of each block, both tables", source: "config_671B.json"),
            ])
    }

    private static let table2 = "Insights into DeepSeek-V3, Table 2"

    private static func operations(_ model: ModelShape, _ count: Double) -> PublishedFigure {
        PublishedFigure(
            "training operations, \(model.name)", count,
            model.trainingOperations(sequence: 4096), .operations,
            "3 x (2 x multiplied parameters + layers x 4096 x heads x widths), causal",
            source: table2)
    }

    /// Dense models of Table 2. The paper does not say how it counted them: six operations for each
    /// of Qwen's 72.7B parameters are already 436 GFLOP.
    static var denseModels: PublishedTable {
        PublishedTable(
            "training operations of dense models", isMeasured: true,
            [operations(.qwen72B, 394e9), operations(.llama405B, 2448e9)])
    }

    /// Over how many nodes and ranks a token's experts are spread.
    static var spread: PublishedTable {
        func figure(_ count: Int, _ value: Double) -> PublishedFigure {
            PublishedFigure(
                "distinct of \(count)", value,
                Spread.distinct(Double(count), of: 256, active: 8), .count,
                "G (1 - C(256 - 256/G, 8) / C(256, 8))", source: "DeepEP V2, analytical model")
        }
        return PublishedTable(
            "distinct destinations of 8 experts of 256",
            [figure(2, 1.993), figure(4, 3.614), figure(8, 5.295), figure(64, 7.676)])
    }
}
