import Collectives
import Tensors
import Testing
import Topology

@testable import Benchmarks

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

    /// Two leaves, two nodes on each, two spines between them; all links a byte per nanosecond.
    /// Rank 0 sends to rank 3 and rank 1 to rank 2, and a hash that adds both ends sends both over
    /// one spine.
    private static func crossing(_ routing: LinkMap.Routing) throws -> SimulationOptions {
        let map = try NodeMap(
            yaml: """
                name: leaves
                nodes: [{name: n, count: 4}]
                planes: [{name: p, gigabitsPerSecond: 8}]
                switches:
                  - {name: leaf0, plane: p, radix: 4, nodes: [n0, n1], above: [s0, s1]}
                  - {name: leaf1, plane: p, radix: 4, nodes: [n2, n3], above: [s0, s1]}
                  - {name: s0, plane: p, radix: 4}
                  - {name: s1, plane: p, radix: 4}
                """, path: "leaves")
        var options = SimulationOptions(file: "leaves", map: map, rankCount: 4)
        options.networkRouting = routing
        return options
    }

    @Test func `flows of one spine take twice as long as flows sprayed over two`() throws {
        let bytes = 1e6
        func nanoseconds(_ routing: LinkMap.Routing) throws -> [UInt64] {
            let links = try Self.crossing(routing).links()
            let flows = [(0, 3), (1, 2)].flatMap { source, target in
                let routes = links.routes(
                    from: Rank(rawValue: source), to: Rank(rawValue: target), plane: 0)
                return routes.map {
                    PlannedFlow(
                        source: source, target: target, route: $0,
                        bytes: bytes / Double(routes.count))
                }
            }
            let ends = FlowRun(links, flows, begins: [0, 0, 0, 0]).outcome.ends
            return [ends[2], ends[3]]
        }
        #expect(try nanoseconds(.static) == [2_000_000, 2_000_000])
        #expect(try nanoseconds(.adaptive) == [1_000_000, 1_000_000])
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
