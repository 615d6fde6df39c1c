package import Pipeline
package import Topology

/// What is to be planned: a model on a cluster, how it is cut, and for what load.
package struct PlanRequest: Sendable {
    /// What the ranks do.
    package enum Phase: String, Codable, CaseIterable, Sendable {
        /// A training step.
        case train
        /// Reading prompts.
        case prefill
        /// Writing a token for every request of a batch.
        case decode
    }

    /// How weights are stored and multiplied.
    package enum Weights: String, Codable, CaseIterable, Sendable {
        /// e4m3 in blocks, products at the FP8 rate.
        case fp8
        /// bfloat16.
        case bf16
        /// Routed experts in 4 bits with a bf16 scale per 32, the others in bfloat16; products at
        /// the bf16 rate.
        case int4
    }

    /// The topology file, for messages.
    package var file: String
    /// What it says.
    package var map: NodeMap
    /// The network.
    package var model: ModelShape
    /// What the ranks do.
    package var phase: Phase
    /// Ranks that share the routed experts; nil is `dp x tp`.
    package var ep: Int?
    /// Stages of the pipeline.
    package var pp = 1
    /// Copies of what is not an expert; nil is as many as the cluster has room for.
    package var dp: Int?
    /// Ranks that share attention.
    package var tp = 1
    /// Copies of experts beyond one of each.
    package var redundantExperts = 0
    /// Decode: requests of a data-parallel copy. Prefill: its prompts. Train: its sequences.
    package var batch = 1
    /// Tokens of context, of a prompt, or of a sequence.
    package var context = 4096
    /// How weights are stored.
    package var weights = Weights.fp8
    /// How dispatch writes tokens.
    package var dispatch = WireFormat.fp8
    /// How combine writes tokens.
    package var combine = WireFormat.bf16
    /// How tokens travel; nil is direct for decode and else deduplicated.
    package var style: PlannedExchange.Style?
    /// Whether two micro-batches take turns, so that one travels while the other computes.
    package var overlaps = true
    /// Order of a training step.
    package var schedule = ScheduleKind.dualPipe
    /// Tokens of a whole training run.
    package var trainingTokens = 1e12
    /// Share of tokens for which a draft is accepted.
    package var acceptance = 0.0

    package init(file: String, map: NodeMap, model: ModelShape, phase: Phase) {
        self.file = file
        self.map = map
        self.model = model
        self.phase = phase
    }
}
