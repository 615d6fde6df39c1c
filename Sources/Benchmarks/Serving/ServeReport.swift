import Encoding
import Foundation

/// What a benchmark of a server found.
public struct ServeReport: Sendable {
    /// Mean, median and tail of one kind of time, in milliseconds.
    struct Times: Sendable {
        let mean: Double
        let median: Double
        let p99: Double

        init(_ seconds: [Double]) {
            let sorted = seconds.sorted().map { $0 * 1000 }
            func percentile(_ p: Double) -> Double {
                guard let last = sorted.last else { return 0 }
                let place = p * Double(sorted.count - 1)
                let low = Int(place)
                guard low + 1 < sorted.count else { return last }
                return sorted[low] + (sorted[low + 1] - sorted[low]) * (place - Double(low))
            }
            mean = sorted.isEmpty ? 0 : sorted.reduce(0, +) / Double(sorted.count)
            median = percentile(0.5)
            p99 = percentile(0.99)
        }
    }

    private let configuration: ServeBenchmark.Configuration
    private let model: String
    private let seconds: Double
    private let good: [ServeBenchmark.Sample]
    private let steps: ServerSteps
    /// What went wrong, one line per request that failed.
    public let errors: [String]

    init(
        _ configuration: ServeBenchmark.Configuration, model: String,
        samples: [ServeBenchmark.Sample], seconds: Double, steps: ServerSteps
    ) {
        self.configuration = configuration
        self.model = model
        self.seconds = seconds
        self.steps = steps
        good = samples.filter { $0.error == nil }
        errors = samples.compactMap(\.error)
    }

    private var inputTokens: Int { good.reduce(0) { $0 + $1.inputTokens } }
    private var outputTokens: Int { good.reduce(0) { $0 + $1.outputTokens } }

    /// Tokens in the best second, and requests under way in it.
    private var peak: (tokens: Int, requests: Int) {
        var tokens: [Int: Int] = [:]
        for sample in good { for time in sample.arrivals { tokens[Int(time), default: 0] += 1 } }
        var edges: [(time: Double, change: Int)] = []
        for sample in good {
            edges += [(sample.start, 1), (sample.start + sample.whole, -1)]
        }
        var running = 0
        var most = 0
        for edge in edges.sorted(by: { ($0.time, $0.change) < ($1.time, $1.change) }) {
            running += edge.change
            most = max(most, running)
        }
        return (tokens.values.max() ?? 0, most)
    }

    /// The four kinds of time.
    ///
    /// The time per output token leaves out the first, which the prompt costs.
    private var times: [(name: String, title: String, times: Times)] {
        [
            ("ttft", "Time to First Token", Times(good.map(\.firstToken))),
            (
                "tpot", "Time per Output Token (excl. 1st token)",
                Times(
                    good.filter { $0.outputTokens > 1 }.map {
                        ($0.whole - $0.firstToken) / Double($0.outputTokens - 1)
                    })
            ),
            ("itl", "Inter-token Latency", Times(good.flatMap(\.gaps))),
            ("e2el", "End-to-end Latency", Times(good.map(\.whole))),
        ]
    }

    /// The block that `vllm bench serve` prints, then where the ranks' time went.
    public var text: String {
        func line(_ name: String, _ value: String) -> String {
            name + String(repeating: " ", count: max(1, 40 - name.count)) + value + "\n"
        }
        func number(_ value: Double) -> String { String(format: "%-10.2f", value) }
        func heading(_ title: String, _ fill: Character) -> String {
            let left = max(0, 50 - title.count) / 2
            return String(repeating: fill, count: left) + title
                + String(repeating: fill, count: max(0, 50 - title.count - left)) + "\n"
        }
        let peak = peak
        var text = heading(" Serving Benchmark Result ", "=")
        text += line("Successful requests:", "\(good.count)")
        text += line("Failed requests:", "\(errors.count)")
        if configuration.concurrency > 0 {
            text += line("Maximum request concurrency:", "\(configuration.concurrency)")
        }
        if configuration.requestRate.isFinite {
            text += line("Request rate configured (RPS):", number(configuration.requestRate))
        }
        text += line("Benchmark duration (s):", number(seconds))
        text += line("Total input tokens:", "\(inputTokens)")
        text += line("Total generated tokens:", "\(outputTokens)")
        text += line("Request throughput (req/s):", number(Double(good.count) / seconds))
        text += line("Output token throughput (tok/s):", number(Double(outputTokens) / seconds))
        text += line("Peak output token throughput (tok/s):", number(Double(peak.tokens)))
        text += line("Peak concurrent requests:", number(Double(peak.requests)))
        text += line(
            "Total token throughput (tok/s):",
            number(Double(inputTokens + outputTokens) / seconds))
        for kind in times {
            let short = kind.name.uppercased()
            text += heading(kind.title, "-")
            text += line("Mean \(short) (ms):", number(kind.times.mean))
            text += line("Median \(short) (ms):", number(kind.times.median))
            text += line("P99 \(short) (ms):", number(kind.times.p99))
        }
        let stepTimes = steps.times(wallSeconds: seconds)
        if !stepTimes.isEmpty {
            text += heading("Where a Step's Time Went (mean of ranks)", "-")
            text += line("Steps:", "\(Int(steps.steps))")
            for time in stepTimes { text += line(time.title, number(time.milliseconds)) }
            text += line("All-to-all hidden (%):", number(steps.hiddenShare * 100))
            if let acceptance = steps.acceptance {
                text += line("Drafts accepted (%):", number(acceptance * 100))
            }
        }
        return text + String(repeating: "=", count: 50)
    }

    /// The same as JSON, with the names that `vllm bench serve --save-result` uses.
    public var json: String {
        let peak = peak
        var members: [(key: String, value: JSONValue)] = [
            ("model_id", .string(model)), ("num_prompts", .number(configuration.prompts)),
            (
                "request_rate",
                configuration.requestRate.isFinite
                    ? .number(configuration.requestRate) : .string("inf")
            ),
            ("burstiness", .number(configuration.burstiness)),
            ("max_concurrency", .number(configuration.concurrency)),
            ("seed", .number(Int(clamping: configuration.seed))),
            ("duration", .number(seconds)), ("completed", .number(good.count)),
            ("failed", .number(errors.count)), ("total_input_tokens", .number(inputTokens)),
            ("total_output_tokens", .number(outputTokens)),
            ("request_throughput", .number(Double(good.count) / seconds)),
            ("output_throughput", .number(Double(outputTokens) / seconds)),
            ("total_token_throughput", .number(Double(inputTokens + outputTokens) / seconds)),
            ("max_output_tokens_per_s", .number(peak.tokens)),
            ("max_concurrent_requests", .number(peak.requests)),
        ]
        for kind in times {
            members += [
                ("mean_\(kind.name)_ms", .number(kind.times.mean)),
                ("median_\(kind.name)_ms", .number(kind.times.median)),
                ("p99_\(kind.name)_ms", .number(kind.times.p99)),
            ]
        }
        let stepTimes = steps.times(wallSeconds: seconds)
        if !stepTimes.isEmpty {
            members.append(("apus_steps", .number(steps.steps)))
            members += stepTimes.map { ("apus_\($0.name)_ms", .number($0.milliseconds)) }
            members.append(("apus_hidden_share", .number(steps.hiddenShare)))
            if let acceptance = steps.acceptance {
                members.append(("apus_draft_acceptance", .number(acceptance)))
            }
        }
        members.append(("errors", .array(errors.prefix(10).map { .string($0) })))
        return JSONValue.object(members).text
    }
}

extension SplitMix64 {
    /// Seconds until the next request: gamma-distributed with the rate's mean.
    ///
    /// Source: Marsaglia and Tsang (2000); a shape of 1 is the exponential of a Poisson process.
    mutating func gap(_ configuration: ServeBenchmark.Configuration) -> Double {
        let mean = 1 / configuration.requestRate
        let shape = configuration.burstiness
        if shape == 1 { return -log(uniform()) * mean }
        let boost = shape < 1 ? pow(uniform(), 1 / shape) : 1
        let d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let normal = (-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform())
            let v = pow(1 + c * normal, 3)
            guard v > 0 else { continue }
            if log(uniform()) < 0.5 * normal * normal + d - d * v + d * log(v) {
                return boost * d * v / shape * mean
            }
        }
    }
}
