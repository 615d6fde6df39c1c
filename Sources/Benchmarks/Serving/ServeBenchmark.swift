import Encoding
import NIOHTTP1
import NIOPosix
import Serving

/// A load of random prompts on a server, as `vllm bench serve` makes it.
public struct ServeBenchmark: Sendable {
    /// Where the server is and what it is sent.
    public struct Configuration: Codable, Hashable, Sendable {
        /// The server.
        public var host = "127.0.0.1"
        /// Its port.
        public var port = 8080
        /// A key, if it wants one.
        public var key: String?
        /// Requests in all.
        public var prompts = 100
        /// Tokens of each prompt.
        public var inputTokens = 128
        /// Tokens of each answer, exactly.
        public var outputTokens = 64
        /// Requests per second; infinite sends all at once.
        public var requestRate = Double.infinity
        /// 1 spaces requests as a Poisson process does; larger is more even.
        public var burstiness = 1.0
        /// Requests under way at once; 0 sets no limit.
        public var concurrency = 0
        /// The same seed sends the same prompts at the same times.
        public var seed: UInt64 = 0
        /// Tokens are drawn below this id and above the special ones.
        public var vocabularySize = 2000

        /// The defaults.
        public init() {}
    }

    /// What one request saw.
    struct Sample: Sendable {
        var error: String?
        var inputTokens = 0
        var outputTokens = 0
        var firstToken = 0.0
        /// Between pieces that arrived one after another.
        var gaps: [Double] = []
        var whole = 0.0
        /// Seconds after the benchmark's start at which pieces arrived.
        var arrivals: [Double] = []
        var start = 0.0
    }

    private let configuration: Configuration

    /// Prepares a benchmark.
    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// Sends the load and measures.
    public func run() async throws -> ServeReport {
        let model = try await HTTPConnection.modelName(at: address, headers: headers)
        let before = try await ServerSteps.read(from: address, headers: headers)
        let (samples, seconds) = try await measure(model)
        let after = try await ServerSteps.read(from: address, headers: headers)
        return ServeReport(
            configuration, model: model, samples: samples, seconds: seconds,
            steps: after.since(before))
    }

    /// Sends the load.
    ///
    /// - Returns: What each request saw, and how long all took.
    func measure(_ model: String) async throws -> (samples: [Sample], seconds: Double) {
        var random = SplitMix64(seed: configuration.seed)
        let bodies = (0 ..< configuration.prompts).map { _ in body(model, &random) }
        let clock = ContinuousClock()
        let begin = clock.now
        var samples: [Sample] = []
        try await withThrowingTaskGroup(of: Sample.self) { group in
            var running = 0
            var due = clock.now
            for body in bodies {
                if configuration.requestRate.isFinite {
                    try await Task.sleep(until: due, clock: clock)
                    due += .seconds(random.gap(configuration))
                }
                if configuration.concurrency > 0, running >= configuration.concurrency {
                    if let sample = try await group.next() { samples.append(sample) }
                    running -= 1
                }
                running += 1
                group.addTask { await send(body, begin: begin) }
            }
            for try await sample in group { samples.append(sample) }
        }
        return (samples, begin.duration(to: clock.now).seconds)
    }

    private var address: HTTPConnection.Address {
        .init(host: configuration.host, port: configuration.port)
    }

    private var headers: [(String, String)] {
        configuration.key.map { [("authorization", "Bearer \($0)")] } ?? []
    }

    private func body(_ model: String, _ random: inout SplitMix64) -> String {
        let low = min(100, configuration.vocabularySize / 2)
        let tokens = (0 ..< configuration.inputTokens).map { _ in
            JSONValue.number(low + Int(random.next() % UInt64(configuration.vocabularySize - low)))
        }
        let body: JSONValue = [
            "model": .string(model), "prompt": .array(tokens),
            "max_tokens": .number(configuration.outputTokens), "temperature": 0, "stream": true,
            "ignore_eos": true, "stream_options": ["include_usage": true],
        ]
        return body.text
    }

    private func send(_ body: String, begin: ContinuousClock.Instant) async -> Sample {
        let clock = ContinuousClock()
        let start = clock.now
        var sample = Sample()
        sample.start = begin.duration(to: start).seconds
        sample.inputTokens = configuration.inputTokens
        var answer = StreamedAnswer()
        var last = start
        do {
            try await HTTPConnection.send(
                .POST, "/v1/completions", body: body, headers: headers, to: address,
                on: MultiThreadedEventLoopGroup.singleton
            ) { part in
                let now = clock.now
                try answer.take(part) { _ in
                    let gap = last.duration(to: now).seconds
                    if sample.arrivals.isEmpty {
                        sample.firstToken = gap
                    } else {
                        sample.gaps.append(gap)
                    }
                    sample.arrivals.append(begin.duration(to: now).seconds)
                    last = now
                }
            }
        } catch { answer.fail(error) }
        sample.outputTokens = answer.tokens
        sample.whole = start.duration(to: last).seconds
        sample.error = answer.failure
        return sample
    }
}
