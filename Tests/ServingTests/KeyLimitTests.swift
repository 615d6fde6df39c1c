import Testing

@testable import Serving

/// What a key may use, at times that the test says.
@Suite struct KeyLimitTests {
    private let start = ContinuousClock.now

    private func usage(_ limits: APIKey.Limits) -> KeyUsage {
        var key = APIKey(name: "alice", secret: KeyTests.alice)
        key.limits = limits
        return KeyUsage(of: key, now: start)
    }

    @Test func `a minute's requests are there at once, and come back evenly`() throws {
        let usage = usage(APIKey.Limits(requestsPerMinute: 3))
        for _ in 0 ..< 3 { try usage.admitRequest(now: start) }
        let error = #expect(throws: APIError.self) { try usage.admitRequest(now: start) }
        #expect(error?.status == 429 && error?.type == "requests")
        #expect(error?.code == "rate_limit_exceeded" && error?.retryAfterSeconds == 20)
        #expect(throws: APIError.self) { try usage.admitRequest(now: start + .seconds(19)) }
        try usage.admitRequest(now: start + .seconds(20))
        #expect(throws: APIError.self) { try usage.admitRequest(now: start + .seconds(21)) }
        // An hour of silence brings one minute's requests, not sixty.
        for _ in 0 ..< 3 { try usage.admitRequest(now: start + .seconds(3600)) }
        #expect(throws: APIError.self) { try usage.admitRequest(now: start + .seconds(3600)) }
        #expect(usage.counts.requests == 11 && usage.counts.refusals == 4)
    }

    @Test func `tokens may be overdrawn by what runs, and are paid back first`() throws {
        let usage = usage(APIKey.Limits(tokensPerMinute: 60))
        let permit = try usage.admitTexts(1, promptTokens: 0, now: start)
        usage.charge(tokens: 90, now: start)
        let error = #expect(throws: APIError.self) {
            try usage.admitTexts(1, promptTokens: 0, now: start)
        }
        #expect(error?.type == "tokens" && error?.retryAfterSeconds == 31)
        #expect(throws: APIError.self) {
            try usage.admitTexts(1, promptTokens: 0, now: start + .seconds(30))
        }
        #expect(usage.secondsUntilToken(now: start + .seconds(31)) == 0)
        _ = try usage.admitTexts(1, promptTokens: 0, now: start + .seconds(31))
        #expect(usage.counts.tokens == 90)
        withExtendedLifetime(permit) {}
    }

    @Test func `texts at once are counted until their permit is dropped`() throws {
        let usage = usage(APIKey.Limits(textsAtOnce: 2))
        var permit: Permit? = try usage.admitTexts(2, promptTokens: 0, now: start)
        let error = #expect(throws: APIError.self) {
            try usage.admitTexts(1, promptTokens: 0, now: start)
        }
        #expect(error?.status == 429 && error?.message.contains("the key alice") == true)
        #expect(error?.type == "requests" && error?.code == "rate_limit_exceeded")
        withExtendedLifetime(permit) {}
        permit = nil
        _ = try usage.admitTexts(1, promptTokens: 0, now: start)
        let never = #expect(throws: APIError.self) {
            try usage.admitTexts(3, promptTokens: 0, now: start)
        }
        #expect(never?.status == 400)
    }

    @Test func `new limits hold at once, and bring no new minute`() throws {
        let usage = usage(APIKey.Limits(requestsPerMinute: 2))
        for _ in 0 ..< 2 { try usage.admitRequest(now: start) }
        usage.limit(APIKey.Limits(requestsPerMinute: 60), now: start)
        #expect(throws: APIError.self) { try usage.admitRequest(now: start) }
        try usage.admitRequest(now: start + .seconds(1))
        usage.limit(APIKey.Limits(), now: start + .seconds(1))
        for _ in 0 ..< 100 { try usage.admitRequest(now: start + .seconds(1)) }
    }

    @Test func `headers say the limits, what is left, and when they are whole`() throws {
        let usage = usage(APIKey.Limits(requestsPerMinute: 60, tokensPerMinute: 600))
        try usage.admitRequest(now: start)
        usage.charge(tokens: 900, now: start)
        let headers = usage.headers(now: start).map { "\($0.name): \($0.value)" }
        #expect(
            headers == [
                "x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59",
                "x-ratelimit-reset-requests: 1s", "x-ratelimit-limit-tokens: 600",
                "x-ratelimit-remaining-tokens: 0", "x-ratelimit-reset-tokens: 1m30s",
            ])
        #expect(self.usage(APIKey.Limits()).headers(now: start).isEmpty)
        #expect(
            [0, 0.12, 0.9999, 1, 59.2, 60, 90].map { KeyUsage.text(seconds: $0) }
                == ["0ms", "120ms", "1000ms", "1s", "1m0s", "1m0s", "1m30s"])
    }

    @Test func `a drain ends when no text runs, or when its time is over`() async {
        let operators = OperatorRequests()
        #expect(!operators.poll(texts: 0, now: start))
        operators.drain(within: nil, otherwise: 300, now: start)
        #expect(!operators.poll(texts: 2, now: start + .seconds(299)))
        operators.drain(within: 10, otherwise: 300, now: start)
        operators.drain(within: nil, otherwise: 300, now: start + .seconds(5))
        #expect(!operators.poll(texts: 2, now: start + .seconds(9)))
        #expect(operators.poll(texts: 0, now: start + .seconds(9)))
        #expect(operators.poll(texts: 2, now: start + .seconds(10)))
        operators.stop(now: true)
        var requests = operators.endRequests.makeAsyncIterator()
        let levels = [await requests.next(), await requests.next()]
        #expect(levels == [1, 2])
    }

    @Test func `a drain that is over after a signal asks nothing more, and a second signal does`()
        async
    {
        let operators = OperatorRequests()
        operators.drain(within: 10, otherwise: 300, now: start)
        operators.ask()
        #expect(operators.poll(texts: 2, now: start + .seconds(11)))
        operators.stop(now: false)
        var requests = operators.endRequests.makeAsyncIterator()
        let first = await requests.next()
        operators.ask()
        operators.ask()
        operators.stop(now: true)
        let second = await requests.next()
        #expect(first == 1 && second == 2)
    }

    @Test func `prompts are taken at admission, and given back where nothing was submitted`() throws
    {
        let usage = usage(APIKey.Limits(tokensPerMinute: 60))
        let permit = try usage.admitTexts(1, promptTokens: 60, now: start)
        // Nothing was generated yet, and nothing is left.
        #expect(throws: APIError.self) {
            try usage.admitTexts(1, promptTokens: 1, now: start)
        }
        #expect(usage.counts.tokens == 0)
        usage.giveBack(promptTokens: 60, now: start)
        _ = try usage.admitTexts(1, promptTokens: 60, now: start)
        usage.count(tokens: 60)
        #expect(usage.counts.tokens == 60 && usage.counts.refusals == 1)
        withExtendedLifetime(permit) {}
    }

    // MARK: Roots of prefixes

    @Test func `roots differ by owner, salt and process, and nobody can send another's`() {
        let (roots, others) = (PrefixRoots(), PrefixRoots())
        #expect(roots.root(of: nil) == 0 && roots.root(of: "", under: 0) == 0)
        let salts = [nil, "", "a", "b", "alice"].map { roots.root(of: $0) }
        let owners = ["", "alice", "bob", "alice 0", "alice\0"]
        let all = owners.flatMap { owner in salts.map { roots.root(of: owner, under: $0) } }
        #expect(Set(all).count == all.count)
        #expect(all == owners.flatMap { owner in salts.map { roots.root(of: owner, under: $0) } })
        #expect(roots.root(of: "a") != others.root(of: "a"))
        #expect(roots.root(of: "alice", under: 0) != others.root(of: "alice", under: 0))
        // Two spellings of one character are two salts.
        #expect(roots.root(of: "\u{E9}") != roots.root(of: "e\u{301}"))
    }
}
