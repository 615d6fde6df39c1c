import Foundation
import TestSupport
import Testing

@testable import Language

/// Logits, parameters and what Transformers leaves of them; see Tests/Reference/sampling_cases.py.
private struct SamplingCase: Decodable {
    let logits: [Float]
    let prompt: [Int]
    let temperature: Double
    let topK: Int
    let topP: Double
    let minP: Double
    let repetitionPenalty: Double
    let probabilities: [Double]
    let logprobs: [Double]
}

@Suite struct SamplerTests {
    @Test func `committed logits keep the distribution Transformers gives them`() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Golden/sampling/cases.jsonl").standardized
        try check(String(contentsOf: file, encoding: .utf8))
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil))
    func `drawn logits keep the distribution Transformers gives them`() throws {
        let seed = Int.random(in: 0 ..< 1 << 30)
        print("sampling cases: seed \(seed)")
        try check(python("sampling_cases.py", ["400", "\(seed)"]))
    }

    private func check(_ lines: String) throws {
        let lines = lines.split(separator: "\n")
        #expect(lines.count >= 20)
        for line in lines {
            let expected = try JSONDecoder().decode(SamplingCase.self, from: Data(line.utf8))
            let sampler = Sampler(
                SamplingParameters(
                    temperature: expected.temperature, topP: expected.topP, topK: expected.topK,
                    minP: expected.minP, repetitionPenalty: expected.repetitionPenalty),
                prompt: expected.prompt)
            let distribution = try sampler.distribution(expected.logits.span)
            for (token, probability) in expected.probabilities.enumerated() {
                // Penalties round to Float32 here; e^(logit * 1e-7 / 0.2) for logits up to 80.
                let place = distribution.tokens.firstIndex(of: token)
                let actual = place.map { distribution.probabilities[$0] } ?? 0
                #expect(abs(actual - probability) < 1e-4, "token \(token) of \(line)")
                #expect(probability > 1e-12 || actual < 1e-12, "token \(token) of \(line)")
            }
            let logprobs = LogProbabilities(expected.logits.span)
            for (token, logprob) in expected.logprobs.enumerated() {
                #expect(abs(Double(logprobs[token]) - logprob) < 1e-5 * max(1, -logprob))
            }
        }
    }

    private let logits: [Float] = (0 ..< 50).map { Float(($0 * 37) % 50) / 10 }

    private func text(_ parameters: SamplingParameters, _ count: Int) throws -> [Int] {
        var sampler = Sampler(parameters, prompt: [1, 2])
        return try (0 ..< count).map { _ in
            let token = try sampler.sample(logits.span)
            sampler.append(token)
            return token
        }
    }

    @Test func `the same seed gives the same text and another seed another`() throws {
        let first = try text(SamplingParameters(seed: 1), 40)
        #expect(try text(SamplingParameters(seed: 1), 40) == first)
        #expect(try text(SamplingParameters(seed: 2), 40) != first)
    }

    @Test func `a draw depends on its place and not on the draws before it`() throws {
        let whole = try text(SamplingParameters(seed: 9), 20)
        var late = Sampler(SamplingParameters(seed: 9))
        for token in whole[..<19] { late.append(token) }
        #expect(try late.sample(logits.span) == whole[19])
    }

    @Test func `temperature 0 takes the lowest id of the largest logits`() throws {
        let sampler = Sampler(.greedy)
        #expect(try sampler.sample([0, 3, 1, 3].span) == 1)
        #expect(try sampler.sample([0, 3, 1, 3].span, allowed: [true, false, true, true]) == 3)
        #expect(try sampler.sample([0, 3, 1, 3].span, forbidden: [1, 3]) == 2)
    }

    @Test func `tokens beyond the mask may not come`() throws {
        #expect(try Sampler(.greedy).sample([0, 1, 2].span, allowed: [true, true]) == 1)
    }

    @Test func `draws follow the distribution`() throws {
        // Chi-squared with 9 degrees of freedom exceeds 33.7 once in 10,000 fair runs; the seeds
        // are fixed, so this either always passes or never.
        let weights: [Float] = (1 ... 10).map { Float($0) }
        let logits = weights.map { logf($0) }
        var counts = [Double](repeating: 0, count: 10)
        let draws = 20_000
        for seed in 0 ..< draws {
            let sampler = Sampler(SamplingParameters(seed: UInt64(seed)))
            counts[try sampler.sample(logits.span)] += 1
        }
        let statistic = (0 ..< 10).reduce(0.0) { sum, token in
            let expected = Double(draws) * Double(weights[token]) / 55
            return sum + (counts[token] - expected) * (counts[token] - expected) / expected
        }
        #expect(statistic < 33.7)
    }

    @Test func `presence and frequency penalties count what was generated`() throws {
        var sampler = Sampler(
            SamplingParameters(temperature: 0, presencePenalty: 0.5, frequencyPenalty: 0.25),
            prompt: [0, 0, 0])
        // 0 leads by 1; two appearances cost 0.5 + 0.25 * 2 = 1, which ties, three lose.
        let logits: [Float] = [2, 1]
        var chosen: [Int] = []
        for _ in 0 ..< 4 {
            let token = try sampler.sample(logits.span)
            chosen.append(token)
            sampler.append(token)
        }
        #expect(chosen == [0, 0, 0, 1])
    }

    @Test func `a logit bias forbids and forces`() throws {
        let forced = Sampler(SamplingParameters(temperature: 0, logitBias: [2: 100, 0: -100]))
        #expect(try forced.sample([5, 4, 3].span) == 2)
    }

    @Test func `logits that are NaN or all forbidden are errors`() {
        let sampler = Sampler(SamplingParameters())
        #expect(throws: LanguageError.request("the logit of token 1 is NaN")) {
            try sampler.sample([0, .nan].span)
        }
        #expect(throws: LanguageError.self) { try sampler.sample([0, 1].span, forbidden: [0, 1]) }
    }

    @Test func `parameters outside their limits are named`() {
        func message(_ change: (inout SamplingParameters) -> Void) -> String {
            var parameters = SamplingParameters()
            change(&parameters)
            do {
                try parameters.validate(vocabularySize: 10)
                return ""
            } catch { return error.description }
        }
        #expect(message { $0.temperature = -1 } == "temperature is -1.0; it goes from 0.0 to 100.0")
        #expect(message { $0.topP = .nan }.hasPrefix("top_p is nan"))
        #expect(message { $0.topP = 0 }.hasPrefix("top_p is 0.0"))
        #expect(message { $0.topK = -1 }.hasPrefix("top_k is -1"))
        #expect(message { $0.logitBias = [10: 1] }.hasPrefix("logit_bias token is 10"))
        #expect(message { $0.logitBias = [1: .infinity] }.hasPrefix("logit_bias of token 1 is inf"))
        #expect(message { _ in }.isEmpty)
    }

    @Test func `the likeliest tokens come in order with their probabilities`() {
        let top = LogProbabilities([1, 3, 2, 3].span).top(3)
        #expect(top.map(\.token) == [1, 3, 2])
        #expect(abs(exp(top[0].logProbability) - 0.3995) < 1e-3)
    }
}
