import Collectives
import Foundation
import Pipeline
import Synchronization
import Testing
import Topology

@testable import Benchmarks

/// Training steps of the product's own executor on simulated fabrics.
@Suite struct SimulatedTrainingTests {
    /// Nodes of one rank, a byte per nanosecond, 5 us.
    static func line(nodes: Int) throws -> NodeMap {
        try NodeMap(
            yaml: """
                name: line
                nodes: [{name: n, count: \(nodes)}]
                planes: [{name: p, gigabitsPerSecond: 8, microseconds: 5}]
                """, path: "line.yaml")
    }

    private static func options(
        _ map: NodeMap, ranks: Int, stages: Int, _ kind: ScheduleKind = .oneForwardOneBackward
    ) -> TrainingSimulationOptions {
        var cluster = SimulationOptions(file: "map.yaml", map: map, rankCount: ranks)
        (cluster.tokenCount, cluster.hiddenSize) = (16, 128)
        (cluster.topK, cluster.expertCount) = (2, 64)
        let costs = StepCosts(forward: 100e-6, backwardInput: 100e-6, backwardWeight: 50e-6)
        var options = TrainingSimulationOptions(
            cluster, stages: stages, times: .init(costs, expertShare: 0.5))
        options.kind = kind
        return options
    }

    /// 64 ranks of the published fabric: two stages of 32 ranks, four nodes each.
    private static func many() throws -> TrainingSimulationOptions {
        let map = try SimulatedExchangeTests.options("h800-2048-mpft", ranks: 64).map
        var options = options(map, ranks: 64, stages: 2)
        options.microBatches = 3
        options.cluster.topK = 8
        options.cluster.hiddenSize = 512
        return options
    }

    @Test func `two stages over one link take what computing, latency and bytes take`() throws {
        var options = try Self.options(Self.line(nodes: 2), ranks: 2, stages: 2)
        options.microBatches = 1
        let result = try SimulatedTraining(options).traced().result
        // Rows in bf16, 64 bytes before them, a put and its signal with 64 bytes of header each.
        let transfer = 5e-6 + Double(16 * 128 * 2 + 64 + 64 + 64) * 1e-9
        let expected = 500e-6 + 2 * transfer
        #expect(abs(result.stepSeconds - expected) < 0.2e-6, "\(result.stepSeconds)")
        #expect(abs(result.scheduleSeconds - 500e-6) < 1e-12)
        #expect(result.findings.isEmpty && result.losses.isEmpty)
        #expect(Set(result.links.map(\.link)) == ["n0.p.out", "n1.p.in", "n1.p.out", "n0.p.in"])
    }

    @Test(arguments: [ScheduleKind.oneForwardOneBackward, .dualPipe, .dualPipeV])
    func `every forward and backward of a cell is counted once`(kind: ScheduleKind) throws {
        var options = try Self.options(Self.line(nodes: 4), ranks: 4, stages: 2, kind)
        options.microBatches = 4
        options.blocks = 2
        let counts = Mutex<[Int]>([])
        // Two ranks for each of 2 stages, or of 4 of a V; 4 micro-batches, there and back.
        let total = (kind == .dualPipeV ? 4 : 2) * 2 * 4 * 2
        _ = try SimulatedTraining(options).traced { done, all in
            counts.withLock { $0.append(all == total ? done : -1) }
        }
        #expect(counts.withLock { $0.sorted() } == Array(1 ... total))
    }

    @Test(arguments: [
        ScheduleKind.oneForwardOneBackward, .zeroBubbleOne, .dualPipe, .dualPipeV,
    ])
    func `without a network a step takes what its schedule's simulation says`(
        kind: ScheduleKind
    ) throws {
        // Ranks of one node hand on activations without virtual time.
        let map = try NodeMap(
            yaml: """
                name: one
                nodes: [{name: n, ranks: 4}]
                planes: [{name: p, gigabitsPerSecond: 8}]
                intranode: {kind: shm, gigabytesPerSecond: 10}
                """, path: "one.yaml")
        var options = Self.options(map, ranks: 4, stages: 4, kind)
        options.microBatches = 10
        let result = try SimulatedTraining(options).traced().result
        #expect(abs(result.stepSeconds - result.scheduleSeconds) < 1e-9)
        for rank in result.ranks {
            #expect(rank.exposedSeconds == 0)
            #expect(abs(rank.bubbleSeconds - rank.scheduleBubbleSeconds) < 1e-9)
        }
    }

    @Test func `an all-to-all between nodes is exposed where nothing hides it`() throws {
        var options = try Self.options(Self.line(nodes: 2), ranks: 2, stages: 1)
        (options.microBatches, options.blocks) = (2, 2)
        let result = try SimulatedTraining(options).traced().result
        // Two micro-batches of two blocks, forward and backward: 16 halves of at least 5 us.
        for rank in result.ranks {
            #expect(rank.exposedSeconds >= 16 * 5e-6)
            #expect(rank.travelSeconds >= rank.exposedSeconds)
        }
        #expect(result.stepSeconds > result.scheduleSeconds + 16 * 5e-6)
    }

    @Test func `DualPipe hides the all-to-all that 1F1B waits for`() throws {
        func exposed(_ kind: ScheduleKind) throws -> Double {
            var options = try Self.options(Self.line(nodes: 4), ranks: 4, stages: 2, kind)
            options.microBatches = 8
            let ranks = try SimulatedTraining(options).traced().result.ranks
            return ranks.reduce(0) { $0 + $1.exposedSeconds / $1.travelSeconds }
        }
        #expect(try exposed(.dualPipe) < 0.8 * exposed(.oneForwardOneBackward))
    }

    @Test func `a seed has one trace`() throws {
        func trace(_ seed: UInt64) throws -> Data {
            var options = try Self.options(Self.line(nodes: 4), ranks: 4, stages: 2, .dualPipe)
            options.cluster.seed = seed
            options.cluster.jitter = .microseconds(3)
            return try Timeline.chromeTrace(SimulatedTraining(options).traced().timelines)
        }
        let first = try trace(1)
        #expect(try trace(1) == first)
        #expect(try trace(2) != first)
    }

    @Test func `a straggler of 64 ranks is named`() throws {
        var options = try Self.many()
        options.cluster.stragglers = [21: 3]
        let findings = try SimulatedTraining(options).traced().result.findings
        #expect(!findings.isEmpty)
        #expect(findings.allSatisfy { $0.hasPrefix("straggler: rank 21 computed ") }, "\(findings)")
    }

    @Test func `a slow link of 64 ranks is named`() throws {
        var options = try Self.many()
        options.cluster.slowLinks = ["node3.plane2.out": 0.02]
        let result = try SimulatedTraining(options).traced().result
        // Plane 2 of node 3 belongs to its third rank.
        #expect(!result.findings.isEmpty)
        #expect(
            result.findings.allSatisfy { $0.contains("waited last for rank 26 in ") },
            "\(result.findings)")
        #expect(result.links.first?.link == "node3.plane2.out")
    }

    @Test func `a dead rank of 64 is named by every survivor, in other stages too`() throws {
        var options = try Self.many()
        options.cluster.kills = [12: .microseconds(300)]
        let losses = try SimulatedTraining(options).traced().result.losses
        #expect(losses.count == 1, "\(losses)")
        #expect(losses.first?.hasPrefix("rank 12 left during ") == true)
        #expect(losses.first?.hasSuffix("(named by 63 of 64 ranks)") == true)
    }

    /// A rank of the last stage waits until all before it have computed.
    @Test func `the limit of a wait covers a long pipeline`() throws {
        var options = try Self.options(Self.line(nodes: 64), ranks: 64, stages: 64)
        let costs = StepCosts(forward: 5, backwardInput: 5, backwardWeight: 5)
        options.times = .init(costs, expertShare: 0.5)
        options.cluster.stragglers = [3: 2]
        // One forward, one backward: each of 128 micro-batches, and 63 stages before the first.
        #expect(options.configuration.limit > .seconds(2 * (128 + 63) * (5 + 5 + 5)))
    }

    enum Mistake: String, CaseIterable {
        case stages = "--stages 3: does not divide 4 ranks"
        case experts = "--stages 2: leaves 2 ranks to share 1 experts"
        case schedule = "--schedule dualpipe: 3 micro-batches are odd"
        case tokens = "--tokens 131072: 4 ranks would touch "
        case huge = "--tokens 16: 4 ranks would touch over 2^63 B of memory"
        case ranks = "--ranks 512: is not 1 to 128 (ranks that move bytes)"
        case layers = "--layers 65: is not 1 to 64 (blocks of a stage)"
        case kill = "--kill 4: no such rank: the ranks are 0 to 3 (--ranks)"
    }

    @Test(arguments: Mistake.allCases)
    func `a mistake is told with its value and its limit`(mistake: Mistake) throws {
        var options = try Self.options(Self.line(nodes: 4), ranks: 4, stages: 2, .dualPipe)
        switch mistake {
        case .stages: options.stages = 3
        case .experts: options.cluster.expertCount = 1
        case .schedule: options.microBatches = 3
        case .tokens: (options.cluster.tokenCount, options.cluster.hiddenSize) = (1 << 17, 7168)
        case .huge: (options.cluster.hiddenSize, options.cluster.topK) = (.max, .max)
        case .ranks:
            options.cluster.map = try Self.line(nodes: 512)
            (options.cluster.rankCount, options.stages, options.blocks) = (512, 512, 64)
        case .layers: options.blocks = 65
        case .kill: options.cluster.kills = [4: .zero]
        }
        let wrong = options
        let error = #expect(throws: SimulationError.self) { try SimulatedTraining(wrong) }
        let words = error.map { "\($0)" } ?? "none"
        #expect(words.hasPrefix(mistake.rawValue), "\(words)")
    }
}
