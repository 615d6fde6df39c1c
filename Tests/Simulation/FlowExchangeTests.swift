import Benchmarks
import Collectives
import Tensors
import Testing
import Topology

/// Exchanges whose sizes alone move.
@Suite struct FlowExchangeTests {
    @Test func `two thousand ranks exchange, and a seed has one history`() throws {
        var options = try SimulatedExchangeTests.options("h800-2048-mpft", ranks: 2048)
        options.groupSize = 64
        options.expertCount = 256
        options.topK = 8
        let first = try FlowExchange(options).run()
        #expect(first.detail == "flows")
        #expect(first.ranks == 2048)
        #expect(try FlowExchange(options).run().history == first.history)
    }

    @Test func `both details carry the same rows over the NICs`() throws {
        for mode in ExpertParallelConfiguration.Mode.allCases {
            var options = try SimulatedExchangeTests.options("four-nodes-25g-roce", ranks: 8)
            options.mode = mode
            // Rows so long that heads and signals do not count.
            (options.hiddenSize, options.tokenCount) = (4096, 64)
            options.dispatchCodec = .bfloat16
            options.expertCount = 32
            let bytes = try SimulatedExchange(options).run()
            let flows = try FlowExchange(options).run()
            for (real, planned) in zip(bytes.halves, flows.halves) {
                let (a, b) = (real.bottleneck, planned.bottleneck)
                #expect(a?.link == b?.link, "\(mode) \(real.name)")
                let ratio = (a?.bytes ?? 0) / (b?.bytes ?? 1)
                #expect(abs(ratio - 1) < 0.02, "\(mode) \(real.name): \(ratio)")
            }
        }
    }

    @Test func `a straggler is named in flows, too`() throws {
        var options = try SimulatedExchangeTests.options("h800-2048-mpft", ranks: 64)
        options.expertCount = 64
        options.compute = .microseconds(200)
        options.stragglers = [9: 4]
        let result = try FlowExchange(options).run()
        #expect(result.findings.first?.hasPrefix("straggler: rank 9 computed ") == true)
    }

    @Test func `a fault that needs bytes is refused`() throws {
        var options = try SimulatedExchangeTests.options("h800-2048-mpft", ranks: 2048)
        options.kills = [7: .zero]
        let error = #expect(throws: SimulationError.self) { try FlowExchange(options) }
        #expect(error.map { "\($0)".contains("--detail bytes") } == true)
    }
}
