import Foundation
import Models
import Tensors
import TestSupport
import Testing

@testable import Benchmarks

/// `bench cache` on a network of a few thousand parameters.
@Suite struct CacheBenchmarkTests {
    private static func tokens(_ count: Int) -> [Int] { (0 ..< count).map { $0 * 7 % 90 + 3 } }

    @Test func `a cache with fewer bits differs more, and that of the reference not at all`()
        throws
    {
        let model = try Golden("T-bf16").model(compute: .float32, threads: 2)
        let benchmark = try CacheBenchmark(model, tokens: Self.tokens(200), depths: [200, 70])
        var begun: [String] = []
        let reports = try benchmark.run([.float32, .bfloat16, .float8e4m3]) { begun.append($0) }
        #expect(begun == ["fp32", "fp32", "bf16", "fp8"])
        #expect(reports.map(\.format) == ["fp32", "bf16", "fp8"])
        #expect(reports[0].bytesPerToken == 2 * reports[1].bytesPerToken)
        for depth in 0 ..< 2 {
            let figures = reports.map { $0.depths[depth] }
            #expect(figures.allSatisfy { $0.depth == [70, 200][depth] && $0.rows == 64 })
            #expect(figures[0].largest == 0 && figures[0].rootMeanSquare == 0)
            #expect(figures[0].divergence == 0 && figures[0].agreement == 1)
            // e4m3 keeps 3 bits after the leading one, bf16 keeps 7. How much that changes is not
            // in proportion: a gate that chooses another expert changes a row as a whole.
            #expect(figures[1].rootMeanSquare > 0)
            #expect(figures[2].rootMeanSquare > figures[1].rootMeanSquare)
            #expect(figures[2].divergence > figures[1].divergence)
            #expect(figures.allSatisfy { $0.largest >= $0.rootMeanSquare && $0.spread > 0 })
        }
    }

    @Test func `depths that text or model do not have are refused`() throws {
        let model = try Golden("T-bf16").model(compute: .float32, threads: 1)
        for depths in [[], [63], [100, 163], [201], [1 << 20]] {
            #expect(throws: ModelError.self) {
                _ = try CacheBenchmark(model, tokens: Self.tokens(200), depths: depths)
            }
        }
    }

    /// Two logits: chances of 1/2 each, against 3/4 and 1/4.
    @Test func `figures of a row are those of the formula`() {
        var figures = CacheFigures(depth: 2)
        figures.add([Float(log(3.0)), 0], reference: [0, 0])
        let divergence = 0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25)
        // Logits are Float.
        #expect(abs(figures.divergence - divergence) < 1e-6)
        #expect(abs(figures.rootMeanSquare - log(3.0) / 2.0.squareRoot()) < 1e-6)
        #expect(figures.spread == 0 && abs(figures.largest - log(3.0)) < 1e-6)
        figures.add([1, -1], reference: [-1, 1])
        #expect(figures.agreement == 0.5 && figures.spread == 0.5 && figures.rows == 2)
        #expect(figures.largest == 2)
    }
}
