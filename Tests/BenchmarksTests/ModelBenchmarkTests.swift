import Models
import Tensors
import TestSupport
import Testing

@testable import Benchmarks

@Suite struct ModelBenchmarkTests {
    /// `bench model` on a network of a few thousand parameters.
    @Test func `times are parts of a whole, and both counts of operations agree`() throws {
        let golden = try Golden("T-bf16")
        let model = try golden.model(compute: .bfloat16, threads: 2)
        var plan = ModelBenchmark.Plan()
        plan.prefill = [24]
        plan.decodeTokens = 3
        plan.batches = [1, 4]
        plan.repetitions = 2
        let report = try ModelBenchmark(model, pool: model.pool, plan: plan).run()
        #expect(report.prefill.map(\.tokens) == [24] && report.decode.map(\.batch) == [1, 4])
        for figure in report.prefill + report.decode {
            #expect(figure.tokensPerSecond > 0)
            let inside = figure.inside
            #expect(inside.products > 0 && inside.attention > 0)
            #expect(inside.products + inside.attention < 1)
            // Rate within its time, times that time, is the rate of the whole: the kernels count
            // their products, the model its weights.
            let parts =
                inside.productPeakFraction * inside.products
                + inside.attentionPeakFraction * inside.attention
            #expect(abs(parts / figure.peakFraction - 1) < 1e-9)
        }
    }
}
