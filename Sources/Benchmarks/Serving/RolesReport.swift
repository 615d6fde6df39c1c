import Encoding
import Foundation

/// A mixed load on ranks that all do the same, and on the same ranks with two roles.
public struct RolesReport: Sendable {
    /// What one way of using the ranks gave.
    public struct Side: Sendable {
        let perToken: ServeReport.Times
        let gaps: ServeReport.Times
        let firstToken: ServeReport.Times
        let tokensPerSecond: Double
        /// What went wrong, one line per request that failed.
        public let errors: [String]

        init(streams: [ServeBenchmark.Sample], prompts: [ServeBenchmark.Sample], seconds: Double) {
            let good = streams.filter { $0.error == nil }
            let read = prompts.filter { $0.error == nil }
            perToken = ServeReport.Times(
                good.filter { $0.outputTokens > 1 }.map {
                    ($0.whole - $0.firstToken) / Double($0.outputTokens - 1)
                })
            gaps = ServeReport.Times(good.flatMap(\.gaps))
            firstToken = ServeReport.Times(read.map(\.firstToken))
            let tokens = (good + read).reduce(0) { $0 + $1.inputTokens + $1.outputTokens }
            tokensPerSecond = seconds > 0 ? Double(tokens) / seconds : 0
            errors = (streams + prompts).compactMap(\.error)
        }

        fileprivate var json: JSONValue {
            [
                "p50_tpot_ms": .number(perToken.median), "p99_tpot_ms": .number(perToken.p99),
                "p99_itl_ms": .number(gaps.p99),
                "median_prompt_ttft_ms": .number(firstToken.median),
                "total_token_throughput": .number(tokensPerSecond),
                "failed": .number(errors.count),
            ]
        }
    }

    private let together: Side
    private let apart: Side

    /// A report of the same load on the same ranks.
    public init(together: Side, apart: Side) {
        self.together = together
        self.apart = apart
    }

    /// What went wrong, on either side.
    public var errors: [String] { together.errors + apart.errors }

    /// How many times longer a token takes, of a hundred the slowest, where ranks do both.
    var tokenGain: Double {
        apart.perToken.p99 > 0 ? together.perToken.p99 / apart.perToken.p99 : 0
    }

    /// Total throughput with two roles over that of the same ranks together.
    var throughput: Double {
        together.tokensPerSecond > 0 ? apart.tokensPerSecond / together.tokensPerSecond : 0
    }

    /// A table of both sides.
    public var text: String {
        func row(_ name: String, _ side: Side) -> String {
            name.padding(toLength: 10, withPad: " ", startingAt: 0)
                + String(
                    format: "%10.2f%10.2f%12.2f%16.1f%12.1f", side.perToken.median,
                    side.perToken.p99, side.gaps.p99, side.firstToken.median, side.tokensPerSecond)
        }
        return [
            "          TPOT, p50  p99 (ms)   gap p99  prompt TTFT p50    tokens/s",
            row("together", together), row("apart", apart),
            String(
                format: "p99 TPOT %.2f times better apart, throughput %.2f of together",
                tokenGain, throughput),
        ].joined(separator: "\n")
    }

    /// The same as JSON, named as `apus bench serve` names it.
    public var json: String {
        let both: JSONValue = [
            "together": together.json, "apart": apart.json, "tpot_p99_gain": .number(tokenGain),
            "throughput_ratio": .number(throughput),
        ]
        return both.text
    }
}
