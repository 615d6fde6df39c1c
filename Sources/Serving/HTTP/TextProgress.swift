/// One text of a request as its events arrive: tokens to text, stop strings, cost and times.
struct TextProgress {
    /// What an event added.
    struct Addition {
        var text = ""
        var tokens: [ScoredToken] = []
    }

    private var assembler: TextAssembler
    private let metrics: ServiceMetrics
    /// Tokens before which no stop string ends the text.
    private let minTokens: Int
    private let start: ContinuousClock.Instant
    private var lastToken: ContinuousClock.Instant?
    private var tokenCount = 0
    /// Scores of the prompt, when asked for.
    private(set) var promptScores: [ScoredToken] = []
    /// What the text has cost so far.
    private(set) var usage = GenerationUsage()
    /// Why the text ended, once it has.
    private(set) var finish: FinishReason?
    private var isEnough = false
    /// Whether a stop string was met or no more is wanted, so that the engine need not go on.
    var hasStopped: Bool { assembler.hasStopped || isEnough }
    /// The stop string that was met.
    var stopString: String? { assembler.stopString }

    /// - Parameter start: When the request was understood: before it waited for a place.
    init(
        _ assembler: TextAssembler, minTokens: Int = 0, metrics: ServiceMetrics,
        start: ContinuousClock.Instant
    ) {
        self.assembler = assembler
        self.minTokens = minTokens
        self.metrics = metrics
        self.start = start
    }

    /// Ends the text here, as a stop string does.
    mutating func stop() { isEnough = true }

    /// Takes the next event of this text.
    mutating func take(_ event: GenerationEvent) -> Addition {
        var addition = Addition()
        metrics.stepSeen()
        switch event {
        case .began(let scores): promptScores = scores
        case .tokens(let tokens):
            guard !hasStopped else { return addition }
            for token in tokens where !hasStopped {
                tokenCount += 1
                addition.text += assembler.append(token.token, mayStop: tokenCount > minTokens)
                addition.tokens.append(token)
            }
            if finish == nil { usage.generatedTokens = tokenCount }
            measure(addition.tokens.count)
        case .finished(let reason, var cost):
            if hasStopped { cost.generatedTokens = tokenCount }
            addition.text = assembler.finish()
            usage = cost
            finish = hasStopped ? .stop : reason
            metrics.finished(finish ?? reason, after: start.duration(to: .now))
        case .failed: break
        }
        return addition
    }

    private mutating func measure(_ count: Int) {
        let now = ContinuousClock.now
        if let lastToken {
            metrics.tokens(count, after: lastToken.duration(to: now))
        } else {
            metrics.firstToken(after: start.duration(to: now))
        }
        lastToken = now
    }
}
