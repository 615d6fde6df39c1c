/// What one rank's engine has done since it started, and what it holds now.
///
/// The metrics, the status page and `/health` read the same record.
public struct EngineStatistics: Codable, Hashable, Sendable {
    /// The rank that reports.
    public var rank = 0
    /// Steps performed, those joined without tokens included.
    public var steps: UInt64 = 0
    /// Seconds since the last step ended; nil before the first.
    package var secondsSinceStep: Double?
    /// Requests in the batch.
    public var running = 0
    /// Requests that wait for room.
    public var waiting = 0
    /// Blocks of the latent cache, and how many hold latents some request or prefix needs.
    public var blockCount = 0
    /// Blocks held by running requests.
    public var blocksInUse = 0
    /// Blocks that hold only reusable prefixes.
    package var blocksCached = 0
    /// Tokens of one block.
    public var blockTokens = 0
    /// Prompt tokens looked up in the prefix cache.
    package var prefixQueries: UInt64 = 0
    /// Prompt tokens found there.
    package var prefixHits: UInt64 = 0
    /// What the files of prefixes gave and took; nil where none are kept.
    var prefixFiles: PrefixCounts?
    /// Prompt tokens processed.
    public var promptTokens: UInt64 = 0
    /// Tokens generated.
    public var generatedTokens: UInt64 = 0
    /// Tokens drafted by MTP.
    package var draftedTokens: UInt64 = 0
    /// Drafted tokens accepted.
    package var acceptedTokens: UInt64 = 0
    /// Times a request gave its blocks back to let an older one go on.
    package var preemptions: UInt64 = 0
    /// Where the time of steps went.
    public var time = StepTime()
    /// What went to other ranks' experts, and what its own gave back.
    public var sent = SentBytes()
    /// Prompts that went from rank to rank; nil on a rank that computes its own.
    var handovers: HandoverTotals?
    /// How its experts' tokens compare with those of the other ranks; nil from the rank itself.
    var expertBalance: ExpertBalance?

    /// An engine that has done nothing.
    public init() {}
}

/// How the tokens that a rank's experts get compare with those of the other ranks of its group.
struct ExpertBalance: Codable, Hashable, Sendable {
    /// Tokens over the mean of the ranks, layers together.
    var ratio: Double
    /// The busiest rank's tokens of each layer, together, over the mean rank's.
    var imbalance: Double
}

/// Where the wall time of steps went, in seconds.
public struct StepTime: Codable, Hashable, Sendable {
    /// All steps, from the first rank's signal to the last token sampled.
    public var total = 0.0
    /// From starting a dispatch until its tokens had arrived.
    public var dispatch = 0.0
    /// From starting a combine until its rows had arrived.
    public var combine = 0.0
    /// While at least one dispatch or combine was under way: two that travel at once count once.
    public var travel = 0.0
    /// The part of `travel` during which this rank stood still.
    public var exposed = 0.0
    /// The part of that in which another rank had not begun yet, so that nothing could travel.
    public var skew = 0.0
    /// Computing routed experts.
    public var expertCompute = 0.0
    /// Waiting for every rank to begin the step.
    public var stepWait = 0.0
    /// Choosing tokens from logits.
    public var sampling = 0.0

    /// No time.
    public init() {}

    /// The part of `travel` that computation hid.
    public var hidden: Double { max(0, travel - exposed) }

    /// Adds another step's times.
    mutating func add(_ other: StepTime) {
        total += other.total
        dispatch += other.dispatch
        combine += other.combine
        travel += other.travel
        exposed += other.exposed
        skew += other.skew
        expertCompute += other.expertCompute
        stepWait += other.stepWait
        sampling += other.sampling
    }
}
