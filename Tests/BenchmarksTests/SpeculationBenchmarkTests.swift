import Serving
import Testing

@testable import Benchmarks

@Suite struct SpeculationBenchmarkTests {
    @Test func `answers of one token have no gain, and say so`() throws {
        var one = SpeculationBenchmark.Side()
        one.add(ChatQuestion.Cost(tokens: 1, streaming: 0))
        var many = SpeculationBenchmark.Side()
        many.add(ChatQuestion.Cost(tokens: 11, streaming: 2))
        #expect(try many.gain(over: many) == 1)
        #expect(throws: ServingError.self) { try one.gain(over: many) }
        #expect(throws: ServingError.self) { try many.gain(over: one) }
    }
}
