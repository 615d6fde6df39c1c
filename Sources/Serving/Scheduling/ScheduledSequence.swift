import DeepSeekV3

/// A request as the scheduler sees it: its tokens, and where their latents are.
struct ScheduledSequence {
    let id: RequestID
    let salt: UInt64
    let arrival: UInt64
    /// Whether every prompt position's logits are wanted, so that nothing may come from the cache.
    let scoresPrompt: Bool
    /// Tokens the text may have in all.
    ///
    /// Drafts never reach beyond it.
    let maxTokens: Int
    /// Prompt, then what was generated.
    var tokens: [Int]
    /// Tokens whose latents are in `blocks`.
    var computed = 0
    /// Proposed next tokens, to be verified in the next step.
    var drafts: [Int] = []
    /// Blocks in order of position.
    ///
    /// The first `path.count` belong to the prefix cache.
    var blocks: [BlockID] = []
    var path: [RadixPrefixCache.NodeID] = []
    var isRunning = false
    /// Prompt tokens found in the prefix cache when first admitted.
    var cachedTokens: Int?

    init(_ request: GenerationRequest, arrival: UInt64) {
        id = request.id
        salt = request.cacheSalt
        scoresPrompt = request.promptTopLogprobs != nil
        maxTokens = request.prompt.count + request.maxNewTokens
        tokens = request.prompt
        self.arrival = arrival
    }

    /// Tokens that still need latents.
    var remaining: Int { tokens.count - computed }

    /// Whether all that is missing is the next token.
    var isStream: Bool { remaining == 1 }
}

/// One sequence's part of a step.
struct StepEntry: Hashable, Sendable {
    let id: RequestID
    /// Tokens to compute, at positions `start...`; the last `draftCount` are unverified.
    let tokens: [Int]
    let draftCount: Int
    let start: Int
    /// Whether the last undrafted token is the sequence's last, so that its logits choose the next.
    let reachesEnd: Bool
    /// Where the latents of positions `0 ..< start + tokens.count` live.
    let blocks: [BlockID]

    var tokenCount: Int { tokens.count }
}
