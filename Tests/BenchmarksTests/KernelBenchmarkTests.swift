import Tensors
import Testing

@testable import Benchmarks

@Suite struct KernelBenchmarkTests {
    @Test func `the benchmark measures tiny products of every format`() throws {
        let benchmark = KernelBenchmark(
            outputs: 70, inputs: 64, compute: .bfloat16, workingBytes: 1)
        for format in NumberFormat.packed {
            let figures = try benchmark.figures(
                format: format, rows: [1, 9], readBandwidth: 1e9, peak: 1e9,
                pool: ThreadPool(threads: 2))
            #expect(figures.map(\.rows) == [1, 9])
            #expect(figures.allSatisfy { $0.microseconds > 0 && $0.peakFraction > 0 })
        }
        #expect(Limits.peakFMA(pool: ThreadPool(threads: 2), rounds: 1) > 0)
    }
}
