import Synchronization

/// What the clients of one key have used, and what its limits leave them.
///
/// It outlives a change of the key file, so that nobody gets a new minute by it.
final class KeyUsage: Sendable {
    /// Sums since the key was first read.
    struct Counts: Sendable {
        var requests: UInt64 = 0
        /// Requests that the key's own limits refused.
        var refusals: UInt64 = 0
        /// Tokens of prompts and answers.
        var tokens: UInt64 = 0
    }

    private struct State {
        var requests: Allowance?
        var tokens: Allowance?
        var counts = Counts()
    }

    /// The key's name.
    let name: String
    private let texts: PermitPool
    private let state = Mutex(State())

    init(of key: APIKey, now: ContinuousClock.Instant) {
        name = key.name
        texts = PermitPool(limit: .max, of: "texts of the key \(key.name)", "textsAtOnce")
        limit(key.limits, now: now)
    }

    var counts: Counts { state.withLock { $0.counts } }

    /// Takes the limits that the key has from now on.
    func limit(_ limits: APIKey.Limits, now: ContinuousClock.Instant) {
        texts.limit(limits.textsAtOnce ?? .max)
        state.withLock { state in
            Self.change(&state.requests, limits.requestsPerMinute, now)
            Self.change(&state.tokens, limits.tokensPerMinute, now)
        }
    }

    private static func change(
        _ allowance: inout Allowance?, _ perMinute: Int?, _ now: ContinuousClock.Instant
    ) {
        guard let perMinute else { return allowance = nil }
        if allowance == nil {
            allowance = Allowance(perMinute: perMinute, now: now)
        } else {
            allowance?.change(perMinute: perMinute, at: now)
        }
    }

    /// Counts a request that is never refused: an operator's, who must be able to end the server.
    func countRequest() { state.withLock { $0.counts.requests += 1 } }

    /// Counts a request.
    ///
    /// - Throws: 429 for one more than a minute allows.
    func admitRequest(now: ContinuousClock.Instant) throws(APIError) {
        let seconds = state.withLock { state in
            state.counts.requests += 1
            let seconds = state.requests?.secondsUntilOne(at: now) ?? 0
            if seconds > 0 {
                state.counts.refusals += 1
            } else {
                state.requests?.take(1, at: now)
            }
            return seconds
        }
        if seconds > 0 { throw refusal("requests", seconds) }
    }

    /// Lets texts begin, and takes their prompts from what the key has left in the same step, so
    /// that requests at once do not all find the last token; what they generate is charged as it
    /// arises.
    ///
    /// Followed by `count(tokens:)` where they were submitted, else by `giveBack`.
    ///
    /// - Throws: 429 while no token is left, or while too many texts are under way.
    func admitTexts(
        _ count: Int, promptTokens: Int, now: ContinuousClock.Instant
    ) throws(APIError) -> Permit {
        do throws(APIError) {
            let permit = try textPermit(count)
            let seconds = state.withLock { state in
                let seconds = state.tokens?.secondsUntilOne(at: now) ?? 0
                if seconds == 0 { state.tokens?.take(promptTokens, at: now) }
                return seconds
            }
            if seconds > 0 { throw refusal("tokens", seconds) }
            return permit
        } catch {
            state.withLock { $0.counts.refusals += 1 }
            throw error
        }
    }

    private func textPermit(_ count: Int) throws(APIError) -> Permit {
        do throws(APIError) { return try texts.acquire(count) } catch {
            guard error.status == 429 else { throw error }
            throw APIError(
                status: 429, message: error.message, type: "requests",
                code: "rate_limit_exceeded", retryAfterSeconds: error.retryAfterSeconds)
        }
    }

    /// Seconds until a token is left; 0 when one is.
    func secondsUntilToken(now: ContinuousClock.Instant) -> Double {
        state.withLock { $0.tokens?.secondsUntilOne(at: now) ?? 0 }
    }

    /// Counts tokens that were taken from the key's limit before.
    func count(tokens: Int) { state.withLock { $0.counts.tokens += UInt64(max(0, tokens)) } }

    /// Gives back what admitted texts took that were not submitted.
    func giveBack(promptTokens: Int, now: ContinuousClock.Instant = .now) {
        state.withLock { $0.tokens?.take(-promptTokens, at: now) }
    }

    /// Counts tokens, and takes them from the key's limit.
    func charge(tokens: Int, now: ContinuousClock.Instant = .now) {
        count(tokens: tokens)
        state.withLock { $0.tokens?.take(max(0, tokens), at: now) }
    }

    private func refusal(_ what: String, _ seconds: Double) -> APIError {
        let wait = max(1, Int(seconds.rounded(.up)))
        let limits = state.withLock { ($0.requests?.perMinute, $0.tokens?.perMinute) }
        let limit = (what == "requests" ? limits.0 : limits.1) ?? 0
        return APIError(
            status: 429,
            message: "the key \(name) has used its \(what) per minute: the limit is \(limit) "
                + "(\(what)PerMinute of the key); try again in \(wait) s",
            type: what, code: "rate_limit_exceeded", retryAfterSeconds: wait)
    }

    /// `x-ratelimit-...`: the limits, what is left of them, and when they are whole again.
    func headers(now: ContinuousClock.Instant) -> [(name: String, value: String)] {
        let (requests, tokens) = state.withLock { ($0.requests, $0.tokens) }
        return [("requests", requests), ("tokens", tokens)].flatMap { what, allowance in
            guard let allowance else { return [(name: String, value: String)]() }
            let left = max(0, Int(allowance.left(at: now)))
            return [
                ("x-ratelimit-limit-\(what)", "\(allowance.perMinute)"),
                ("x-ratelimit-remaining-\(what)", "\(left)"),
                (
                    "x-ratelimit-reset-\(what)",
                    Self.text(seconds: allowance.secondsUntilFull(at: now))
                ),
            ]
        }
    }

    /// A duration as OpenAI's headers have it: `120ms`, `7s` or `1m30s`, rounded up.
    static func text(seconds: Double) -> String {
        if seconds < 1 { return "\(Int((seconds * 1000).rounded(.up)))ms" }
        let whole = Int(seconds.rounded(.up))
        return whole < 60 ? "\(whole)s" : "\(whole / 60)m\(whole % 60)s"
    }
}
