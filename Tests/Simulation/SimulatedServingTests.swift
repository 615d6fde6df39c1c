import Collectives
import Foundation
import Serving
import Synchronization
import Tensors
import Testing
import Topology

@testable import Benchmarks

/// Serving steps of the product's own engine on simulated fabrics.
@Suite struct SimulatedServingTests {
    private static func options(
        _ map: NodeMap, ranks: Int, microseconds: Double = 100
    ) -> ServingSimulationOptions {
        var cluster = SimulationOptions(file: "map.yaml", map: map, rankCount: ranks)
        cluster.mode = .lowLatency
        (cluster.hiddenSize, cluster.topK, cluster.expertCount) = (128, 2, 64)
        cluster.dispatchCodec = .bfloat16
        var options = ServingSimulationOptions(
            cluster, computing: .given(seconds: microseconds * 1e-6, expertShare: 0.5))
        (options.streams, options.newTokens, options.blocks) = (4, 5, 2)
        return options
    }

    /// 64 ranks on eight nodes of the published fabric.
    private static func many() throws -> ServingSimulationOptions {
        let map = try SimulatedExchangeTests.options("h800-2048-mpft", ranks: 64).map
        var options = options(map, ranks: 64)
        (options.cluster.topK, options.cluster.hiddenSize) = (8, 512)
        (options.streams, options.newTokens) = (8, 3)
        return options
    }

    @Test func `one rank writes a token in what its blocks compute`() throws {
        let options = try Self.options(SimulatedTrainingTests.line(nodes: 1), ranks: 1)
        let result = try SimulatedServing(options).traced().result
        #expect(abs(result.tpotSeconds - 200e-6) < 1e-9, "\(result.tpotSeconds)")
        #expect(abs(result.ttftSeconds - 200e-6) < 1e-9)
        #expect(abs(result.plannedTPOTSeconds - 200e-6) < 1e-9)
        #expect(result.steps == 5 && result.layers.isEmpty)
    }

    @Test(arguments: [false, true])
    func `every token of all texts is counted once`(overlaps: Bool) throws {
        var options = try Self.options(SimulatedTrainingTests.line(nodes: 2), ranks: 2)
        options.overlaps = overlaps
        let seen = Mutex<(most: Int, totals: Set<Int>)>((0, []))
        _ = try SimulatedServing(options).traced { done, all in
            seen.withLock { $0 = (max($0.most, done), $0.totals.union([all])) }
        }
        // Two ranks, 4 texts each, 5 tokens of a text.
        #expect(seen.withLock { $0.most == 40 && $0.totals == [40] })
    }

    @Test func `two ranks take latency and bytes beside it, as the planner predicts`() throws {
        var options = try Self.options(SimulatedTrainingTests.line(nodes: 2), ranks: 2)
        // Both ranks have one expert each, so that every token goes to both; long rows, so that
        // heads do not count.
        (options.cluster.expertCount, options.cluster.hiddenSize) = (2, 8192)
        let result = try SimulatedServing(options).traced().result
        let bytes = 4.0 * 8192 * 2
        // Two blocks of two halves, each with a latency; and that of the barrier.
        let expected = 200e-6 + 4 * (bytes * 1e-9 + 5e-6) + 5e-6
        #expect(abs(result.tpotSeconds / expected - 1) < 0.01, "\(result.tpotSeconds)")
        // The planner leaves out latency.
        let planned = 200e-6 + 4 * bytes * 1e-9
        #expect(abs(result.plannedTPOTSeconds / planned - 1) < 0.01)
        for layer in result.layers {
            #expect(layer.exposedDispatchSeconds <= layer.dispatchSeconds)
            #expect(layer.exposedDispatchSeconds > bytes * 1e-9)
        }
        options.overlaps = true
        let split = try SimulatedServing(options).traced().result
        #expect(split.layers[0].exposedDispatchSeconds < result.layers[0].exposedDispatchSeconds)
    }

    @Test func `prompts are read in steps of so many tokens`() throws {
        var options = try Self.options(SimulatedTrainingTests.line(nodes: 1), ranks: 1)
        (options.streams, options.prompt, options.stepTokens) = (2, 8, 8)
        let result = try SimulatedServing(options).traced().result
        // Eight tokens take four times what two do.
        #expect(abs(result.ttftSeconds - (800e-6 + 1600e-6) / 2) < 400e-6)
        #expect(result.losses.isEmpty)
    }

    /// Ranks wait for each other as long as the longest step computes: here one of 512 tokens.
    @Test func `the limit of a wait covers steps of prompts`() throws {
        var options = try Self.options(
            SimulatedTrainingTests.line(nodes: 4), ranks: 4, microseconds: 1000)
        let usual = options.configuration.limit
        options.prompt = 256
        // 512 tokens take 128 times what four do.
        let added = (options.configuration.limit - usual) / .milliseconds(1)
        #expect(abs(added - 127) < 1e-6, "\(added)")
    }

    @Test func `a seed has one trace`() throws {
        func trace(_ seed: UInt64) throws -> Data {
            var options = try Self.options(SimulatedTrainingTests.line(nodes: 4), ranks: 4)
            options.cluster.seed = seed
            options.cluster.jitter = .microseconds(3)
            return try SimulatedServing(options).traced().trace.json()
        }
        let first = try trace(1)
        #expect(try trace(1) == first)
        #expect(try trace(2) != first)
        let text = String(decoding: first, as: UTF8.self)
        for lane in ["\"dispatch\"", "\"expert compute\"", "\"step\"", "\"exposed wait\""] {
            #expect(text.contains(lane), "\(lane)")
        }
    }

    @Test func `a straggler of 64 ranks is named`() throws {
        var options = try Self.many()
        options.cluster.stragglers = [21: 3]
        let findings = try SimulatedServing(options).traced().result.findings
        #expect(!findings.isEmpty)
        #expect(findings.allSatisfy { $0.hasPrefix("straggler: rank 21 computed ") }, "\(findings)")
    }

    @Test func `a slow link of 64 ranks is named`() throws {
        var options = try Self.many()
        options.cluster.slowLinks = ["node3.plane2.out": 0.02]
        let result = try SimulatedServing(options).traced().result
        #expect(!result.findings.isEmpty)
        #expect(
            result.findings.allSatisfy { $0.contains("waited last for rank 26 in ") },
            "\(result.findings)")
        #expect(result.links.first?.link == "node3.plane2.out")
    }

    @Test func `a dead rank of 64 is named by every survivor`() throws {
        var options = try Self.many()
        options.cluster.kills = [12: .microseconds(250)]
        let losses = try SimulatedServing(options).traced().result.losses
        #expect(losses.count == 1, "\(losses)")
        #expect(losses.first?.hasPrefix("rank 12 left during ") == true)
        #expect(losses.first?.hasSuffix("(named by 63 of 64 ranks)") == true)
    }

    enum Mistake: String, CaseIterable {
        case batch = "--batch 0: is not 1 to 4096 (texts of a rank)"
        case stepTokens = "--step-tokens 3: is not 4 to 65536 (--batch, tokens)"
        case newTokens = "--new-tokens 60000: some 60001 steps of 2 blocks are more than 16384"
        case experts = "--ranks 4: is not 1 to 2 (experts)"
        case noExperts = "--experts 0: is not 1 to "
        case memory = "--step-tokens 8192: 4 ranks would touch 32.21 GB of memory"
        case huge = "--step-tokens 512: 4 ranks would touch over 2^63 B of memory"
    }

    @Test(arguments: Mistake.allCases)
    func `a mistake is told with its value and its limit`(mistake: Mistake) throws {
        var options = try Self.options(SimulatedTrainingTests.line(nodes: 4), ranks: 4)
        switch mistake {
        case .batch: options.streams = 0
        case .stepTokens: options.stepTokens = 3
        case .newTokens: options.newTokens = 60000
        case .experts: options.cluster.expertCount = 2
        case .noExperts: options.cluster.expertCount = 0
        case .memory:
            (options.stepTokens, options.prompt) = (8192, 8192)
            (options.cluster.hiddenSize, options.cluster.topK) = (16384, 6)
        case .huge: (options.cluster.hiddenSize, options.cluster.topK) = (.max, .max)
        }
        let wrong = options
        let error = #expect(throws: SimulationError.self) { try SimulatedServing(wrong) }
        let words = error.map { "\($0)" } ?? "none"
        #expect(words.hasPrefix(mistake.rawValue), "\(words)")
    }
}
