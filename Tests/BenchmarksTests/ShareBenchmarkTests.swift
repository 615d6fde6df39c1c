import Collectives
import Foundation
import Models
import Planner
import Tensors
import Testing
import Topology

@testable import Benchmarks

/// `bench share` on networks of a few thousand parameters, and its volumes for published ones.
@Suite struct ShareBenchmarkTests {
    private static let text = """
        {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
         "hidden_size": 128, "intermediate_size": 192, "moe_intermediate_size": 64,
         "num_hidden_layers": 7, "first_k_dense_replace": 2, "num_attention_heads": 4,
         "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 3,
         "n_group": 1, "topk_group": 1, "q_lora_rank": 96, "kv_lora_rank": 64,
         "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32, "vocab_size": 200,
         "max_position_embeddings": 256, "num_nextn_predict_layers": 0}
        """

    private func options(ranks: Int = 4, experts: Int = 16) throws -> ShareOptions {
        let text = Self.text.replacing("experts\": 16", with: "experts\": \(experts)")
        let model = try ModelConfiguration.parse(Data(text.utf8), file: "config.json")
        var options = ShareOptions(name: "small", model: model, ranks: ranks)
        (options.batch, options.context, options.prefill) = (5, 70, 33)
        (options.layers, options.repetitions) = (4, 3)
        return options
    }

    /// Nodes of one rank, with NICs of 400 Gbit/s.
    private func cluster(nodes: Int) throws -> ShareOptions.Cluster {
        let map = NodeMap(
            name: "eight", nodes: (0 ..< nodes).map { .init(name: "n\($0)") },
            planes: [.init(name: "p0", bandwidthBitsPerSecond: 400e9)])
        return try ShareOptions.Cluster(map, file: "eight.yaml")
    }

    /// Two nodes of two ranks each.
    private func pairs() throws -> ShareOptions.Cluster {
        let map = try NodeMap(
            yaml: """
                name: pairs
                nodes: [{name: n, count: 2, ranks: 2}]
                planes: [{name: p, gigabitsPerSecond: 400}]
                intranode: {kind: shm, gigabytesPerSecond: 10}
                """, path: "pairs.yaml")
        return try ShareOptions.Cluster(map, file: "pairs.yaml")
    }

    @Test func `ranks that share a node are said to share its memory`() throws {
        func isSaid(_ ranks: Int, _ cluster: ShareOptions.Cluster) throws -> Bool {
            var options = try options(ranks: ranks)
            options.cluster = cluster
            return SharePrediction.omissions(options).contains { $0.contains("share its memory") }
        }
        #expect(try isSaid(4, pairs()) && isSaid(2, pairs()))
        #expect(try !isSaid(1, pairs()) && !isSaid(4, cluster(nodes: 4)))
    }

    @Test(arguments: [1, 4]) func `a share is measured part by part`(ranks: Int) throws {
        var options = try options(ranks: ranks)
        options.cluster = try cluster(nodes: 4)
        var notes: [String] = []
        let report = try ShareBenchmark(options).run(note: { notes.append($0) })
        #expect(report.isFinite)
        // The first step of each phase touches memory, and is none of the measured ones.
        for phase in ["prefill", "decode"] {
            #expect(
                notes.filter { $0.hasPrefix(phase) } == [
                    "\(phase) warm-up", "\(phase) step 1 of 3", "\(phase) step 2 of 3",
                    "\(phase) step 3 of 3",
                ])
        }
        for phase in [report.decode, try #require(report.prefill)] {
            #expect(phase.blocks.map(\.measured) == [1, 3])
            #expect(phase.blocks.map(\.inModel) == [2, 5])
            #expect(phase.evenRows == Double(3 * phase.tokens))
            #expect(phase.blocks[0].parts.map(\.part) == [.attention, .dense])
            #expect(
                phase.blocks[1].parts.map(\.part)
                    == [.attention, .gate, .dispatch, .shared, .routed, .combine])
            let parts = phase.blocks.flatMap(\.parts) + [try #require(phase.head)]
            #expect(parts.allSatisfy { $0.seconds > 0 && $0.limitSeconds > 0 })
            let sum = 2 * phase.blocks[0].seconds + 5 * phase.blocks[1].seconds
            let rest = phase.restSeconds + (phase.head?.seconds ?? 0)
            #expect(abs(phase.modelSeconds - sum - rest) < 1e-12)
        }
        #expect(report.decode.steps.count == 3 && report.memory.resident > 0)
        // Of one rank all rows are its own.
        if ranks == 1 { #expect(report.decode.expertRows == 15 && report.decode.copies == 0) }
        let text = report.text(explained: true)
        #expect(text.contains("TPOT if all travel is hidden") && text.contains("predicted"))
        let decoded = try JSONDecoder().decode(
            ShareReport.self, from: try JSONEncoder().encode(report))
        #expect(decoded.decode.modelSeconds == report.decode.modelSeconds)
        #expect(decoded.cluster.map(\.figure) == report.cluster.map(\.figure))
    }

    /// Of popularity 1 / n^20 tokens choose the same three experts, on three of four ranks.
    @Test(arguments: [1, 4]) func `experts read the weights that the drawn routing needs`(
        ranks: Int
    ) throws {
        func decode(_ pattern: AllToAllOptions.Pattern) throws -> (bytes: Double, experts: Double) {
            var options = try options(ranks: ranks)
            (options.pattern, options.prefill) = (pattern, 0)
            let decode = try ShareBenchmark(options).run().decode
            let parts = decode.blocks.flatMap(\.parts)
            return (
                try #require(parts.first { $0.part == .routed }).bytes, decode.expertsWithRows
            )
        }
        let (uniform, skewed) = (try decode(.uniform), try decode(.zipf(20)))
        #expect(skewed.bytes > 0 && skewed.bytes < uniform.bytes / 2)
        // Experts are of one size.
        let (each, other) = (uniform.bytes / uniform.experts, skewed.bytes / skewed.experts)
        #expect(abs(each / other - 1) < 1e-9)
    }

    /// By hand: 32 tokens x 8 outputs x 7/8 of them from other nodes x 14,336 B, over 50 GB/s.
    @Test func `travel is the planner's, beside measured computing`() throws {
        let model = try #require(try ModelConfiguration.published("deepseek-v3"))
        let options = ShareOptions(name: "deepseek-v3", model: model, ranks: 8)
        let phase = ShareReport.Phase(
            tokens: 32, expertRows: 256, evenRows: 256, expertsWithRows: 32,
            evenExpertsWithRows: 32, copies: 0, blocks: [], head: nil, restSeconds: 0.25,
            steps: [0.25])
        let figures = SharePrediction(options, try cluster(nodes: 8), decode: phase, prefill: nil)
            .figures
        func value(_ name: String) throws -> Double {
            try #require(figures.first { $0.figure.name == name }).figure.value
        }
        #expect(try value("decode: combine through the NIC") == 32 * 8 * 7 / 8 * 14_336)
        // A token reaches 4 (1 - C(96, 8) / C(128, 8)) = 3.6301 nodes, 7/8 of them others.
        let out = try value("decode: dispatch through the NIC")
        #expect(abs(out / (32 * 3.6301 * 7 / 8 * 14_352) - 1) < 1e-3)
        let travel = (out + 32 * 8 * 7 / 8 * 14_336) / 50e9
        #expect(abs(try value("decode: travel of a block") / travel - 1) < 1e-12)
        #expect(abs(try value("TPOT") - 0.25 - 58 * travel) < 1e-12)
        #expect(abs(try value("decode: all 8 ranks") * (0.25 + 58 * travel) / 256 - 1) < 1e-12)
        #expect(figures.map(\.origin).contains(.measured))
    }

    /// Golden number of DeepEP's analytical model: 256 experts, top-8, on 8 nodes are 5.295 nodes.
    @Test func `drawn volumes are those of even routing`() throws {
        var model = try #require(try ModelConfiguration.published("deepseek-v3"))
        (model.groupCount, model.keptGroupCount) = (1, 1)
        let options = ShareOptions(name: "v3", model: model, ranks: 8)
        let traffic = try ShareDraw(options).traffic(tokens: 1024, layer: 3)
        let share = RankShare(model, rankCount: 8, ranksPerNode: 1, compute: .bfloat16)
        let volumes = ShareVolumes([traffic], tokens: 1024, options, share)
        #expect(volumes.evenRows == 8192)
        #expect(abs(volumes.expertRows / 8192 - 1) < 0.03)
        #expect(volumes.expertsWithRows == 32)
        #expect(abs(volumes.meanCopies / 1024 / (5.295 * 7 / 8) - 1) < 0.02)
        // 32 tokens bring 256 rows to 32 experts: 32 (1 - (31/32)^256) = 31.99.
        let few = ShareVolumes([], tokens: 32, options, share)
        #expect(abs(few.evenExpertsWithRows - 31.9905) < 1e-3)
    }

    /// Ranks 2 and 3 are the second of two nodes, and a token stays on one node.
    @Test func `the busiest rank is measured as the first, and its node stays together`() throws {
        var options = try options()
        (options.model.groupCount, options.model.keptGroupCount) = (2, 1)
        options.pattern = .counts((0 ..< 16).map { $0 / 4 == 2 ? 8 : 1 })
        options.cluster = try pairs()
        let draw = try ShareDraw(options)
        let traffic = try draw.traffic(tokens: 200, layer: 2)
        let drawn = try (0 ..< 4).map {
            try draw.routing(rank: $0, tokens: 200, layer: 2).expertIDs
        }
        let rows = (8 ..< 12).map { expert in drawn.joined().count { $0 == expert } }
        #expect(traffic.allRows(ofExperts: 4) == rows)
        // Even routing brings 600 rows of 2400 to each rank.
        #expect(rows.reduce(0, +) > 1200)
        let own = try #require(traffic.own)
        let ranks = [2, 3, 0, 1]
        #expect(own.expertIDs == drawn[2].map { Int32(ranks[Int($0) / 4] * 4 + Int($0) % 4) })
        let share = RankShare(options.model, rankCount: 4, ranksPerNode: 2, compute: .bfloat16)
        #expect(share.copies(of: own).count == (0 ..< 200).count { drawn[2][3 * $0] < 8 })
    }

    @Test func `a node is exchanged whole, then the ranks inside it`() {
        func numbers(_ measured: Int, ranksPerNode: Int) -> [Int] {
            (0 ..< 8).map {
                ShareDraw.exchanged($0, measured: measured, ranksPerNode: ranksPerNode)
            }
        }
        #expect(numbers(6, ranksPerNode: 4) == [4, 5, 6, 7, 2, 1, 0, 3])
        #expect(numbers(1, ranksPerNode: 4) == [1, 0, 2, 3, 4, 5, 6, 7])
        #expect(numbers(5, ranksPerNode: 1) == [5, 1, 2, 3, 4, 0, 6, 7])
    }

    @Test func `planned windows hold the rows of the busiest of 64 ranks`() throws {
        var options = try options(ranks: 64, experts: 64)
        (options.layers, options.pattern) = (2, .zipf(1))
        let layout = try ShareLayout(options, free: 8 << 30)
        let model = try layout.random.make(pool: ThreadPool(threads: 2))
        let steps = ShareSteps(model, options)
        let draw = try ShareDraw(options)
        let share = try #require(model.rankShare)
        share.traffic = try layout.layers.map { layer in
            guard options.model.hasExperts(layer: layer) else { return nil }
            return try draw.traffic(tokens: options.prefill, layer: layer)
        }
        try steps.prefill()
        let planned = try ShareWorkingMemory(options)
        #expect(share.windowBytes <= planned.windows)
        #expect(layout.memory.working == planned.byteCount)
        // Even routing would bring 33 x 3 rows: 1 + 4 x 3 rows of 128 values for each token.
        #expect(share.windowBytes > 33 * 13 * 2 * 128)
    }

    /// The block of V3 by hand: 32 experts of 3 x 7168 x 2048 bytes are 1,409,286,144.
    @Test func `as many blocks are chosen as fit`() throws {
        let model = try #require(try ModelConfiguration.published("deepseek-v3"))
        var options = ShareOptions(name: "deepseek-v3", model: model, ranks: 8)
        options.prefill = 0
        let few = try ShareLayout(options, free: 9_000_000_000)
        #expect(few.layers.count >= 2 && few.layers[0] == 0)
        #expect(few.layers.dropFirst().allSatisfy { $0 >= 3 })
        let many = try ShareLayout(options, free: 20_000_000_000)
        let more = many.layers.count - few.layers.count
        let each = Double(many.memory.weights - few.memory.weights) / Double(more)
        #expect(each > 1_409_286_144 && each < 1.2 * 1_409_286_144)
        #expect(many.memory.head == 2 * 129_280 * 7168)
        options.layers = 3
        #expect(try ShareLayout(options, free: 20_000_000_000).layers == [0, 3, 4])
    }

    @Test func `names of the planner and of published configurations have equal sizes`() throws {
        for name in ModelConfiguration.publishedNames {
            let model = try #require(try ModelConfiguration.published(name))
            let shape = try ModelShape(named: name)
            #expect(Double(model.parameterCounts.total) == shape.totalParameters)
            #expect(model.expertLayerCount == shape.expertLayers)
            #expect(model.groupCount == shape.expertGroups)
        }
    }

    @Test func `what cannot be measured is refused with its value and limit`() throws {
        func refusal(_ change: (inout ShareOptions) -> Void) throws -> String {
            var options = try options()
            change(&options)
            let error = #expect(throws: PlanError.self) { try ShareBenchmark(options) }
            return error?.description ?? ""
        }
        #expect(try refusal { $0.ranks = 3 }.contains("does not divide the 16 routed experts"))
        #expect(try refusal { $0.ranks = 3 }.hasSuffix("2 and 4 do"))
        #expect(try refusal { $0.ranks = 2_000_000 }.contains("--ranks 2000000 is not 1 to 16"))
        #expect(try refusal { $0.batch = 0 }.hasPrefix("--batch 0 is not 1 to"))
        #expect(try refusal { $0.context = 257 }.contains("257 is not 1 to 256"))
        #expect(try refusal { $0.layers = 1 }.contains("one block of each of 2 kinds"))
        #expect(try refusal { $0.layers = 8 }.contains("8 is not 1 to 7 (num_hidden_layers)"))
        let small = try cluster(nodes: 2)
        #expect(try refusal { $0.cluster = small }.contains("the 2 ranks of eight.yaml"))
        let plain = try options()
        let error = #expect(throws: PlanError.self) { try ShareBenchmark(plain, free: 1 << 30) }
        #expect(error?.description.contains("bytes are needed and 1073741824 are free") == true)
        for (name, fact) in [
            ("llama-3.1-405b", "without routed experts"),
            ("deepseek-v4", "deepseek-v2, deepseek-v3"),
        ] {
            let error = #expect(throws: PlanError.self) { try ShareModel.configuration(name) }
            #expect(error?.description.contains(fact) == true)
        }
    }
}
