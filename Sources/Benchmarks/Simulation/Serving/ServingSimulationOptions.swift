import Collectives
package import Planner
import Serving
import Tensors
import Topology

/// What `apus simulate serve` simulates: ranks that write texts together, step by step.
package struct ServingSimulationOptions: Sendable {
    /// What a rank computes of a block.
    package enum Computing: Sendable {
        /// Seconds of a block for a step of all streams, and the share that routed experts take.
        /// More rows take as much longer; fewer take no less, as all weights are read.
        case given(seconds: Double, expertShare: Double)
        /// The planner's rates: layouts of decode, and of the prompts.
        case planned(decode: Layout, prompts: Layout)
    }

    /// Cluster, routing and faults; all ranks share the experts.
    package var cluster: SimulationOptions
    /// Texts of a rank.
    package var streams = 16
    /// Tokens of a prompt.
    package var prompt = 1
    /// New tokens of a text.
    package var newTokens = 8
    /// Tokens of a step, prompts and streams together.
    package var stepTokens = 512
    /// Blocks of the model, all with experts.
    package var blocks = 4
    /// Whether steps are split in two micro-batches that hide each other's all-to-all.
    package var overlaps = false
    /// What a block computes.
    package var computing: Computing

    /// The stated defaults.
    package init(_ cluster: SimulationOptions, computing: Computing) {
        self.cluster = cluster
        self.computing = computing
    }

    static let mostStreams = 4096
    static let mostTokens = 1 << 16
    static let mostBlocks = 256
    /// Exchanges of a run: each is one of all ranks.
    static let mostExchanges = 1 << 14

    /// The options as the exchanges take them.
    var exchanges: SimulationOptions {
        var options = cluster
        options.detail = .bytes
        options.tokenCount = max(1, stepTokens)
        options.groupSize = cluster.rankCount
        options.compute = .seconds(longestBlockSeconds)
        return options
    }

    /// What the ranks agree on: as serving does.
    var configuration: ExpertParallelConfiguration {
        var configuration = exchanges.configuration
        configuration.addsBeforeReturn = false
        return configuration
    }

    /// How each rank's engine works.
    var engine: EngineConfiguration {
        var engine = EngineConfiguration()
        engine.runningLimit = streams
        engine.waitingLimit = streams
        engine.stepTokens = stepTokens
        engine.promptTokensBesideStreams = min(engine.promptTokensBesideStreams, stepTokens)
        engine.usesPrefixCache = false
        engine.speculates = false
        engine.overlaps = overlaps
        // The simulation is asked for steps that are split.
        engine.overlapThreshold = 0
        return engine
    }

    /// - Throws: `SimulationError` with the option, its value and its limit.
    package func check() throws {
        try cluster.checkRanks()
        try cluster.checkRanksOfBytes()
        try cluster.checkExperts()
        try cluster.limit("ranks", cluster.rankCount, 1 ... cluster.expertCount, "experts")
        try cluster.limit("batch", streams, 1 ... Self.mostStreams, "texts of a rank")
        try cluster.limit("prompt", prompt, 1 ... Self.mostTokens, "tokens")
        try cluster.limit("new-tokens", newTokens, 2 ... Self.mostTokens, "tokens of a text")
        try cluster.limit("step-tokens", stepTokens, streams ... Self.mostTokens, "--batch, tokens")
        try cluster.limit("layers", blocks, 1 ... Self.mostBlocks, "blocks")
        let steps = newTokens + (streams * prompt + stepTokens - 1) / stepTokens
        guard steps * blocks <= Self.mostExchanges else {
            throw SimulationError.option(
                "new-tokens", value: "\(newTokens)",
                limit: "some \(steps) steps of \(blocks) blocks are more than "
                    + "\(Self.mostExchanges) exchanges")
        }
        try checkMemory()
    }

    /// Tokens arrive once per expert, leave as such, and come back: in two micro-batches, whose
    /// outputs stay beside them.
    private func checkMemory() throws {
        let perRow = Double(cluster.hiddenSize) * (8 * Double(cluster.topK) + 12)
        try cluster.checkMemory(
            "step-tokens", stepTokens, bytesPerRank: Double(mostRows) * perRow)
    }

    /// Rows of the largest step.
    private var mostRows: Int { min(stepTokens, streams * prompt) }

    // MARK: Computing

    /// What a block computes in the longest step: of all streams, or of prompts.
    private var longestBlockSeconds: Double {
        let decode =
            attentionSeconds(streams: streams, promptTokens: 0) + expertSeconds(rows: streams)
        guard prompt > 1 else { return decode }
        let rows = mostRows
        return max(
            decode, attentionSeconds(streams: 0, promptTokens: rows) + expertSeconds(rows: rows))
    }

    /// Attention and what is dense of a block.
    func attentionSeconds(streams: Int, promptTokens: Int) -> Double {
        switch computing {
        case .given(let seconds, let share):
            seconds * (1 - share) * scale(rows: streams + promptTokens)
        case .planned(let decode, let prompts):
            (streams > 0 ? decode.attentionSeconds(requests: Double(streams)) : 0)
                + (promptTokens > 0
                    ? prompts.attentionSeconds(requests: Double(promptTokens) / Double(prompt)) : 0)
        }
    }

    /// Routed and shared experts of a block.
    func expertSeconds(rows: Int) -> Double {
        switch computing {
        case .given(let seconds, let share): seconds * share * scale(rows: rows)
        case .planned(let decode, _): Compute(decode).experts(tokens: Double(rows))
        }
    }

    /// The head, for texts that get a token.
    func headSeconds(texts: Int) -> Double {
        guard texts > 0, case .planned(let decode, _) = computing else { return 0 }
        return Compute(decode).head(tokens: Double(texts))
    }

    private func scale(rows: Int) -> Double {
        rows == 0 ? 0 : max(1, Double(rows) / Double(max(1, streams)))
    }
}
