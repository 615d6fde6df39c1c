public import Models

/// How one rank's engine works.
public struct EngineConfiguration: Codable, Hashable, Sendable {
    /// Sequences in the batch at once.
    public var runningLimit = 64
    /// Requests that wait for room.
    package var waitingLimit = 512
    /// Tokens of one step, prompts and streams together.
    public var stepTokens = 512
    /// Prompt tokens of a step that also serves running streams.
    package var promptTokensBesideStreams = 128
    /// Whether prefixes are kept for later requests.
    package var usesPrefixCache = true
    /// Whether MTP drafts tokens, where the checkpoint has it.
    public var speculates = true
    /// Streams on one rank beyond which drafting costs more than it saves.
    package var speculationStreams = 8
    /// If the experts of the MTP block take at most this many bytes, every rank holds all of them,
    /// and drafting needs no all-to-all. 0: they are sharded as all other experts.
    package var draftCopyBytes = 64 << 20
    /// Bytes of the model's head from which the ranks of a node compute it together.
    public var sharedHeadBytes = 16 << 20
    /// Tokens of a step up to which the ranks of a node compute attention and dense products
    /// together for the one of them that has work; 0: never.
    public var sharedRows = 32
    /// Whether steps are split in two micro-batches that hide each other's all-to-all.
    public var overlaps = true
    /// Splitting is tried when dispatch and combine take more than this share of a step without
    /// computation beside them.
    ///
    /// Waiting for a rank that still computes does not count. Steps stay split where that is
    /// faster. 0 always splits.
    package var overlapThreshold = 0.1

    /// Tokens of a prompt that a decode rank lacks, from which a prefill rank computes them: below
    /// it a hand-over takes longer than it spares.
    package var handoverTokens = 128
    /// Seconds without a sign of a prompt's entries after which a decode rank computes them itself.
    package var handoverSeconds = 30.0
    /// How much work one step of the engine may do for constrained texts, in visits of a token of
    /// the vocabulary (about 10 ns each).
    ///
    /// Texts beyond it wait for a later step, so that a schema does not delay the other ranks. One
    /// text may exceed it once, by its own limit.
    package var constraintSteps = 1 << 24

    /// The defaults.
    public init() {}

    /// Whether every rank is to hold all routed experts of a model's MTP block.
    public func copiesDraftExperts(of shape: ModelConfiguration) -> Bool {
        speculates && shape.draftExpertByteCount <= draftCopyBytes
    }

    /// Checks every value against its limit.
    ///
    /// - Throws: `ServingError.configuration` naming the setting.
    public func validate() throws(ServingError) {
        // Beyond these a slip of the keyboard is likelier than intent; a step must fit a window.
        try Setting.check("runningLimit", runningLimit, 1, 1 << 16)
        try Setting.check("waitingLimit", waitingLimit, 0, 1 << 20)
        try Setting.check("stepTokens", stepTokens, 1, 1 << 17)
        try Setting.check("promptTokensBesideStreams", promptTokensBesideStreams, 1, 1 << 17)
        try Setting.check("speculationStreams", speculationStreams, 0, 1 << 16)
        try Setting.check("draftCopyBytes", draftCopyBytes, 0, 1 << 40)
        try Setting.check("sharedHeadBytes", sharedHeadBytes, 0, 1 << 40)
        try Setting.check("sharedRows", sharedRows, 0, ModelOptions.sharedRowLimit)
        try Setting.check("handoverTokens", handoverTokens, 1, 1 << 24)
        try Setting.check("handoverSeconds", handoverSeconds, 0.1, 3600)
        try Setting.check("overlapThreshold", overlapThreshold, 0, 1)
        // At the most, a step takes some ten seconds: a sixth of the job's `stepSeconds`.
        try Setting.check("constraintSteps", constraintSteps, 1, 1 << 30)
    }
}
