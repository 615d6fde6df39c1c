import Testing

@testable import Benchmarks

/// How texts of one question are counted.
@Suite struct DeterminismReportTests {
    @Test func `a second text of one question is counted and shown`() {
        var report = DeterminismReport(model: "m", streams: 2)
        for _ in 0 ..< 3 {
            report.add("a cat", to: 0, .greedy)
            report.add("a dog", to: 0, .seeded)
            report.add("a cow", to: 1, .seeded)
        }
        #expect(report.most == 1 && !report.text.contains("part after"))
        report.add("a cot", to: 1, .seeded)
        #expect(report.most == 2)
        #expect(
            report.text.contains(
                "seeded prompt 1: 2 texts, which part after 4 characters: \"w\" and \"t\""))
        #expect(report.json.contains(#""greedyTextsPerPrompt":1,"seededTextsPerPrompt":2"#))
    }
}
