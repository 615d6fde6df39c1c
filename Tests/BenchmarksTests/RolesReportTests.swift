import Encoding
import Testing

@testable import Benchmarks

/// What a mixed load says of two ways to use the same ranks.
@Suite struct RolesReportTests {
    private static func side(whole: Double, seconds: Double) -> RolesReport.Side {
        var stream = ServeBenchmark.Sample()
        stream.inputTokens = 10
        stream.outputTokens = 11
        stream.firstToken = 1
        stream.whole = whole
        stream.gaps = [0.1, 0.2]
        var prompt = stream
        prompt.inputTokens = 79
        prompt.outputTokens = 0
        prompt.firstToken = 2
        var failed = stream
        failed.error = "status 500"
        return RolesReport.Side(
            streams: [stream, failed], prompts: [prompt], seconds: seconds)
    }

    @Test func `both sides and their ratios are of the requests that succeeded`() throws {
        let report = RolesReport(
            together: Self.side(whole: 5, seconds: 2), apart: Self.side(whole: 2, seconds: 2.5))
        #expect(report.tokenGain == 4)
        #expect(report.throughput == 0.8)
        #expect(report.errors == ["status 500", "status 500"])
        let json = try JSONValue.parse(Array(report.json.utf8))
        #expect(json["together"]?["p99_tpot_ms"]?.double == 400)
        #expect(json["together"]?["total_token_throughput"]?.double == 50)
        #expect(json["apart"]?["median_prompt_ttft_ms"]?.double == 2000)
        #expect(json["apart"]?["failed"]?.integer == 1)
        #expect(report.text.contains("4.00 times better apart, throughput 0.80"))
    }
}
