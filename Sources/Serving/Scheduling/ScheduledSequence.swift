public import Models

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
    var path: [PrefixTree.NodeID] = []
    /// Keys of the first full blocks, where blocks are kept in files.
    var keys: [PrefixKey] = []
    var isRunning = false
    /// Prompt tokens found in the prefix cache when first admitted, here or where the prompt was
    /// computed.
    var cachedTokens: Int?
    /// Whether another rank may compute its prompt.
    var wantsHandover: Bool
    /// Whether it goes on after another rank, so that its client has waited since.
    let isResumed: Bool
    /// Whether its entries come from another rank: no step computes any of them meanwhile.
    var awaitsEntries = false

    init(_ request: GenerationRequest, arrival: UInt64) {
        id = request.id
        salt = request.cacheSalt
        scoresPrompt = request.promptTopLogprobs != nil
        wantsHandover = request.handover != nil
        isResumed = request.resumption != nil
        maxTokens = request.prompt.count + request.maxNewTokens
        tokens = request.prompt + (request.resumption?.tokens ?? [])
        self.arrival = arrival
    }

    /// Tokens that still need latents.
    var remaining: Int { tokens.count - computed }

    /// Whether all that is missing is the next token.
    var isStream: Bool { remaining == 1 && !awaitsEntries }

    /// Whether a step could compute any of its tokens.
    var isMovable: Bool { remaining > 0 && !awaitsEntries }
}

/// One sequence's part of a step.
public struct StepEntry: Hashable, Sendable {
    let id: RequestID
    /// Tokens to compute, at positions `start...`; the last `draftCount` are unverified.
    public let tokens: [Int]
    let draftCount: Int
    /// The position of the first token.
    public let start: Int
    /// Whether the last undrafted token is the sequence's last, so that its logits choose the next.
    public let reachesEnd: Bool
    /// Where the latents of positions `0 ..< start + tokens.count` live.
    public let blocks: [BlockID]

    /// Tokens of one sequence in a step.
    public init(
        id: RequestID, tokens: [Int], draftCount: Int, start: Int, reachesEnd: Bool,
        blocks: [BlockID]
    ) {
        self.id = id
        self.tokens = tokens
        self.draftCount = draftCount
        self.start = start
        self.reachesEnd = reachesEnd
        self.blocks = blocks
    }

    var tokenCount: Int { tokens.count }

    /// Whether all that was missing is the next token, with what was drafted after it.
    var isStream: Bool { reachesEnd && tokens.count == draftCount + 1 }

    /// Two micro-batches of about the same number of tokens.
    ///
    /// A prompt may lie in both: what comes later reads the latents that came before in the same
    /// layer, as it would have in a later step.
    public static func halves(of entries: [StepEntry]) -> ([StepEntry], [StepEntry]) {
        let half = (entries.reduce(0) { $0 + $1.tokenCount } + 1) / 2
        var (first, second): ([StepEntry], [StepEntry]) = ([], [])
        var count = 0
        for entry in entries {
            let room = half - count
            count += entry.tokenCount
            if entry.tokenCount <= room {
                first.append(entry)
            } else if room <= 0 || entry.draftCount > 0 {
                second.append(entry)
            } else {
                first.append(entry.part(0 ..< room))
                second.append(entry.part(room ..< entry.tokenCount))
            }
        }
        return (first, second)
    }

    /// Some of a prompt's tokens.
    private func part(_ range: Range<Int>) -> StepEntry {
        StepEntry(
            id: id, tokens: Array(tokens[range]), draftCount: 0, start: start + range.lowerBound,
            reachesEnd: reachesEnd && range.upperBound == tokenCount, blocks: blocks)
    }
}
