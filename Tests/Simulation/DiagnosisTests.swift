import Benchmarks
import Testing
import Topology

/// A fault that is planted among many ranks is named.
@Suite struct DiagnosisTests {
    private static func options(ranks: Int = 64) throws -> SimulationOptions {
        var options = try SimulatedExchangeTests.options("h800-2048-mpft", ranks: ranks)
        options.expertCount = 64
        options.tokenCount = 16
        options.hiddenSize = 512
        options.topK = 8
        return options
    }

    @Test func `a straggler is named`() throws {
        var options = try Self.options()
        options.compute = .microseconds(200)
        options.stragglers = [21: 3]
        let result = try SimulatedExchange(options).run()
        #expect(result.findings.count == 2)
        #expect(result.findings.allSatisfy { $0.hasPrefix("straggler: rank 21 computed ") })
    }

    @Test func `a slow link is named by the rank whose bytes are late`() throws {
        var options = try Self.options()
        options.slowLinks = ["node3.plane2.out": 0.05]
        let result = try SimulatedExchange(options).run()
        // Plane 2 of node 3 belongs to its third rank.
        #expect(result.findings.count == 2)
        #expect(result.findings.allSatisfy { $0.contains("waited last for rank 26 in ") })
        #expect(result.halves[0].bottleneck?.link == "node3.plane2.out")
    }

    @Test func `a slow link is named by the node that alone gets its bytes late`() throws {
        var options = try Self.options(ranks: 32)
        options.slowLinks = ["node3.plane2.in": 0.05]
        let result = try SimulatedExchange(options).run()
        #expect(result.findings.count == 2)
        #expect(result.findings.allSatisfy { $0.hasSuffix(" are all of node 3") })
    }

    @Test func `a rank that is cut off is named by nearly all`() throws {
        var options = try Self.options(ranks: 32)
        options.cuts = ["node2.plane1.out": .microseconds(5)]
        let result = try SimulatedExchange(options).run()
        #expect(result.losses.first?.hasPrefix("rank 17 left during ") == true)
    }

    @Test func `a dead rank is named by every survivor`() throws {
        var options = try Self.options()
        options.kills = [12: .microseconds(5)]
        let result = try SimulatedExchange(options).run()
        #expect(!result.losses.isEmpty)
        #expect(result.losses.allSatisfy { $0.hasPrefix("rank 12 left during ") })
    }

    @Test func `ranks that all die are named, although nobody is left to miss them`() throws {
        var options = try SimulatedExchangeTests.options("four-nodes-25g-roce", ranks: 2)
        options.kills = [0: .microseconds(1), 1: .microseconds(1)]
        let result = try SimulatedExchange(options).run()
        #expect(result.losses.count == 2)
        #expect(result.losses.allSatisfy { $0.hasSuffix("no rank was left to name it") })
    }

    @Test(arguments: 1 ... 8)
    func `nobody is accused on a healthy fabric of few nodes`(seed: UInt64) throws {
        var options = try SimulatedExchangeTests.options("four-nodes-25g-roce", ranks: 8)
        options.seed = seed
        #expect(try SimulatedExchange(options).run().findings == [])
    }
}
