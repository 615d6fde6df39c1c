import Grammar
import Language

/// A request while the engine works on it: what was generated, and how the next token is chosen.
///
///     submit --+--> waiting --admit--> reading --last prompt token--> streaming --+--> finished
///              |       ^                  |                             |         |
///              |       +-----preempt------+-----------------------------+         |
///              |                                                                  |
///              +--> failed (at once, for what is wrong with it)                   +--> failed
///
/// A text finishes by a stop or by its length.
///
/// `began` is reported with the first token, `tokens` with every step that brings some, then once
/// `finished` or `failed`. A cancelled request goes from any state to `finished(.cancelled)`; a
/// lost rank takes every request to `failed`. The `Scheduler` holds the state (waiting, running);
/// a running request streams when all that is missing is its next token.
struct ActiveRequest {
    let request: GenerationRequest
    private(set) var generated: [Int] = []
    private(set) var usage = GenerationUsage()
    private var constraint: ConstrainedText?
    /// The constraint that a token of the text begins.
    private var triggered: TriggeredText?
    /// Which tokens the constraint allows next, once `constrain` has found them.
    private var allowed: [Bool]?
    /// Steps that this request has waited for others to find theirs.
    private(set) var waitedSteps = 0
    private var sampler: Sampler
    /// Tokens that the thoughts of the answer may still have, where they have a budget.
    private var thoughtLeft = 0
    private var isInThought = false
    private(set) var promptScores: [ScoredToken] = []
    /// Whether `began` was reported.
    var hasBegun = false
    private var isCounted = false
    /// Whether the MTP block's entries of its prompt are wanted, though it has no text.
    var fillsDraftEntries = false
    /// Why the text ended, once it has.
    private(set) var finish: FinishReason?

    init(
        _ request: GenerationRequest, constraint compiled: CompiledConstraint? = nil,
        grammars: GrammarCache = GrammarCache(), vocabulary: () -> ConstraintVocabulary?
    ) throws(ServingError) {
        self.request = request
        sampler = Sampler(request.sampling, prompt: request.prompt)
        usage.promptTokens = request.prompt.count
        if let budget = request.thoughtBudget {
            (thoughtLeft, isInThought) = (budget.tokens, budget.isInside)
        }
        if let compiled {
            guard let vocabulary = vocabulary() else {
                throw .invalidRequest(
                    message: "this model has no tokenizer to constrain text with",
                    parameter: "response_format")
            }
            if let trigger = request.trigger {
                triggered = TriggeredText(
                    trigger, compiled, after: request.prompt.last, vocabulary: vocabulary,
                    cache: grammars)
                if let begun = trigger.begun {
                    constraint = try ServingError.constraining { () throws(GrammarError) in
                        try TriggeredText.begun(
                            begun, compiled, vocabulary: vocabulary, cache: grammars)
                    }
                }
            } else {
                constraint = try ServingError.constraining { () throws(GrammarError) in
                    try ConstrainedText(
                        compiled, vocabulary: vocabulary, maxNewTokens: request.maxNewTokens,
                        cache: grammars)
                }
            }
        }
        if request.maxNewTokens == 0 { finish = .length }
        if let resumption = request.resumption { try resume(resumption) }
    }

    /// Continues a text after what another rank told of it before that rank was lost.
    private mutating func resume(_ resumption: Resumption) throws(ServingError) {
        hasBegun = resumption.hasBegun
        let count = resumption.tokens.count
        guard count <= request.maxNewTokens else {
            throw .engine(
                message: "\(count) tokens were told of a text of \(request.maxNewTokens)")
        }
        for token in resumption.tokens { try take(token) }
        usage.generatedTokens = count
    }

    /// Adds a token to the text.
    private mutating func take(_ token: Int) throws(ServingError) {
        sampler.append(token)
        countThought(token)
        generated.append(token)
        try ServingError.constraining { () throws(GrammarError) in try follow(token) }
        if remaining == 0 { finish = .length }
        if triggered == nil, constraint?.isFinal == true { finish = .stop }
    }

    /// Moves the constraint past a token; one that a token begins comes and goes.
    private mutating func follow(_ token: Int) throws(GrammarError) {
        guard constraint == nil else {
            try constraint?.append(token)
            triggered?.pass(token)
            if triggered != nil, constraint?.isFinal == true { constraint = nil }
            return
        }
        constraint = try triggered?.append(token)
    }

    private mutating func countThought(_ token: Int) {
        guard let budget = request.thoughtBudget else { return }
        guard !isInThought else {
            isInThought = token != budget.endToken
            if isInThought { thoughtLeft = max(0, thoughtLeft - 1) }
            return
        }
        let isFirst = generated.allSatisfy { budget.lineTokens.contains($0) }
        isInThought =
            isFirst && !budget.isInside && token == budget.beginToken
            || budget.opens(generated, token)
    }

    /// Tokens that may still be generated.
    var remaining: Int { request.maxNewTokens - generated.count }

    /// Drafting needs a free choice of tokens: a constrained text rarely accepts a draft.
    var mayDraft: Bool { fillsDraftEntries || constraint == nil && remaining > 1 }

    /// Whether the next token cannot be chosen before `constrain`.
    var needsConstraining: Bool { constraint != nil && allowed == nil && finish == nil }

    /// Finds which tokens may come next.
    ///
    /// - Parameter spent: What it took is added here, in steps of a walk.
    mutating func constrain(spent: inout Int) throws(ServingError) {
        guard needsConstraining else { return }
        // What a token began may be cut by the limit of tokens: such a call is none.
        let left = triggered == nil ? remaining : .max
        allowed = try ServingError.constraining { () throws(GrammarError) in
            try constraint?.mask(remaining: left, spent: &spent)
        }
        waitedSteps = 0
    }

    /// Records that others came first.
    mutating func wait() { waitedSteps += 1 }

    /// Records, once, how much of the prompt was found in the cache.
    mutating func count(cached: Int) {
        guard !isCounted else { return }
        isCounted = true
        usage.cachedTokens = min(cached, request.prompt.count)
    }

    mutating func count(drafted: Int, accepted: Int) {
        usage.draftedTokens += drafted
        usage.acceptedTokens += accepted
    }

    /// Chooses the next token from a row of logits.
    ///
    /// - Returns: The token, or nil if it ended the text without being part of it.
    /// - Throws: What ends this request alone: no token can be chosen.
    mutating func choose(
        from logits: borrowing Span<Float>, endTokens: [Int]
    ) throws(ServingError) -> ScoredToken? {
        var ends: Set<Int> = Set(request.stopTokens)
        if !request.ignoresEndTokens { ends.formUnion(endTokens) }
        var forbidden = request.ignoresEndTokens ? endTokens : []
        if generated.count < request.minNewTokens { forbidden += ends.sorted() }
        var spent = 0
        try constrain(spent: &spent)
        if let allowed, constraint?.isComplete == true,
            !allowed.indices.contains(where: { allowed[$0] && !forbidden.contains($0) })
        {
            // Only an end may follow, and the request forbids ends: the document is whole.
            finish = .stop
            return nil
        }
        // A form that is not whole says alone what comes next: a text may end later.
        if let allowed,
            !allowed.indices.contains(where: { allowed[$0] && !forbidden.contains($0) })
        {
            forbidden = []
        }
        var token: Int
        do throws(LanguageError) {
            token = try sampler.sample(logits, allowed: allowed, forbidden: forbidden)
        } catch {
            throw .engine(message: "\(error)")
        }
        // A thought at its limit ends here, whatever the model would say; under a constraint, as
        // soon as that lets it: not in the middle of a character.
        if isInThought, thoughtLeft == 0, let end = request.thoughtBudget?.endToken,
            allowed.map({ $0.indices.contains(end) && $0[end] }) ?? true
        {
            token = end
        }
        allowed = nil
        usage.generatedTokens += 1
        guard !ends.contains(token) else {
            finish = .stop
            return nil
        }
        try take(token)
        return Self.score(token, logits, top: request.topLogprobs)
    }

    /// Records the score of a prompt token from the logits before it; the first has none.
    mutating func scorePrompt(_ token: Int) { promptScores.append(ScoredToken(token: token)) }

    /// Records the score of a prompt token from the logits before it.
    mutating func scorePrompt(_ token: Int, from logits: borrowing Span<Float>) {
        promptScores.append(Self.score(token, logits, top: request.promptTopLogprobs))
    }

    /// A token with its log-probability and the likeliest others, under the model's distribution.
    static func score(_ token: Int, _ logits: borrowing Span<Float>, top: Int?) -> ScoredToken {
        guard let top else { return ScoredToken(token: token) }
        let scores = LogProbabilities(logits)
        return ScoredToken(
            token: token, logprob: scores[token],
            top: scores.top(top).map {
                TokenLogprob(token: $0.token, logprob: $0.logProbability)
            })
    }
}
