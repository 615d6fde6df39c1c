import Checkpoints
import Collectives
import Encoding
import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

/// One rank's share of a network, of random weights, without the other ranks.
@Suite struct RankShareTests {
    /// One dense block and two with experts.
    private static let text = """
        {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
         "hidden_size": 128, "intermediate_size": 192, "moe_intermediate_size": 64,
         "num_hidden_layers": 3, "first_k_dense_replace": 1, "num_attention_heads": 4,
         "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3,
         "n_group": 1, "topk_group": 1, "q_lora_rank": 96, "kv_lora_rank": 64,
         "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32, "vocab_size": 200,
         "max_position_embeddings": 256, "num_nextn_predict_layers": 0}
        """

    private func configuration() throws -> ModelConfiguration {
        try ModelConfiguration.parse(Data(Self.text.utf8), file: "config.json")
    }

    private func logits(_ model: Model, tokens: Int = 9) throws -> [Float] {
        let cache = BlockCache(
            configuration: model.configuration, format: .bfloat16, blockCount: 1)
        let chunk = SequenceChunk(
            tokens: (0 ..< tokens).map { $0 * 7 % 200 }, position: 0,
            blocks: cache.blocks(tokens: tokens), wanted: .all)
        return try model.forward([chunk], cache: cache).logits.values
    }

    @Test(arguments: RandomCheckpoint.Format.allCases)
    func `a share of one rank is the whole network, to the bit`(
        format: RandomCheckpoint.Format
    ) throws {
        let random = try RandomModel(
            configuration(), format: format, rankCount: 1, seed: 5)
        let model = try random.make(pool: ThreadPool(threads: 2))
        let expected = try logits(model)
        #expect(expected.allSatisfy { $0.isFinite } && Set(expected).count > 100)
        // The exchange that pretends other ranks, of which there are none.
        let share = RankShare(
            model.configuration, rankCount: 1, ranksPerNode: 1, compute: .bfloat16)
        let none = RankShare.Traffic(own: nil, arrivedTokens: 0, arrivals: [])
        share.traffic = [nil, none, none]
        model.rankShare = share
        #expect(try logits(model) == expected)
        // Rows of other ranks come beside them and change nothing.
        let arrivals = (0 ..< 20).map { RankShare.Traffic.Arrival(token: $0 / 2, expert: $0 % 8) }
        let some = RankShare.Traffic(own: nil, arrivedTokens: 10, arrivals: arrivals)
        share.traffic = [nil, some, some]
        #expect(try logits(model) == expected)
    }

    @Test func `a share holds its experts alone, and counts their rows`() throws {
        let random = try RandomModel(
            configuration(), format: .float8, rankCount: 4, seed: 5)
        let model = try random.make(pool: ThreadPool(threads: 1))
        let whole = try RandomModel(configuration(), format: .float8, rankCount: 1, seed: 5)
        // 6 of 8 experts less, of 3 x 128 x 64 bytes and a scale for 2048 of them.
        let one = 3 * 128 * 64
        #expect(
            whole.weightBytes(layer: 1) - random.weightBytes(layer: 1) == 6
                * (one + 3 * (8192 / 2048)))
        #expect(whole.weightBytes(layer: 0) == random.weightBytes(layer: 0))
        let routing = try Routing(
            tokenCount: 9, topK: 3, expertIDs: (0 ..< 27).map { Int32($0 % 8) })
        let traffic = RankShare.Traffic(
            own: routing, arrivedTokens: 2,
            arrivals: [.init(token: 0, expert: 1), .init(token: 1, expert: 1)])
        #expect(traffic.rows(ofExperts: 2) == [0, 2])
        let share = RankShare(
            model.configuration, rankCount: 4, ranksPerNode: 2, compute: .bfloat16)
        // Experts 0 to 3 are on this node. Tokens 0 to 8 choose 012, 345, 670, 123, 456, 701, 234,
        // 567 and 012: six of them an expert of the other node.
        #expect(share.copies(of: routing).count == 6)
        share.traffic = [nil, traffic, traffic]
        model.rankShare = share
        let times = ForwardTimes()
        model.times = times
        #expect(try logits(model).allSatisfy { $0.isFinite })
        let routed = try #require(times.figures[.init(.routed, layer: 1)])
        // Experts 0 and 1 are here: of 27 choices in turn 4 and 4, and two rows of other ranks.
        let rows = 4 + 4 + 2
        #expect(routed.map(\.work.matrixOperations) == [2 * one * rows])
        for part in ForwardPart.allCases where part != .head {
            let isDense = part == .dense
            #expect(
                (times.figures[.init(part, layer: 0)] != nil) == (isDense || part == .attention))
            #expect((times.figures[.init(part, layer: 2)] != nil) == !isDense)
        }
        #expect(times.figures[.init(.head, layer: nil)]?.count == 1)
    }

    @Test func `tokens share a few embeddings that were drawn before`() throws {
        let random = RandomWeights(seed: 5, format: { _ in .bfloat16 }, value: { _ in 0 })
        let table = EmbeddingTable(random, hiddenSize: 64)
        let rows = Tensor(rows: 17, columns: 64)
        table.widen(Array(1000 ..< 1017), into: rows)
        let drawn = (0 ..< 17).map { Array(rows.values[$0 * 64 ..< ($0 + 1) * 64]) }
        #expect(drawn[16] == drawn[0] && Set(drawn).count == 16)
        #expect(drawn.joined().allSatisfy { abs($0) <= 0.0325 } && Set(drawn[0]).count > 32)
    }

    @Test func `some blocks of a network keep their kinds`() throws {
        let published = try #require(try ModelConfiguration.published("DeepSeek-V3"))
        let part = published.keeping([0, 3, 4])
        #expect((0 ..< 3).map { part.hasExperts(layer: $0) } == [false, true, true])
        #expect(part.mtpLayerCount == 0 && part.layerCount == 3)
        #expect(part.kind(layer: 0).name == "dense" && part.kind(layer: 2).name == "experts")
        try part.validate()
    }

    /// What is not stored in 4 bits is listed by name, shared experts among it.
    @Test(arguments: RandomCheckpoint.Format.allCases, [true, false])
    func `a block that is kept is stored as in the whole network`(
        format: RandomCheckpoint.Format, isGiven: Bool
    ) throws {
        let text = Self.text
            .replacing("num_hidden_layers\": 3", with: "num_hidden_layers\": 6")
            .replacing("first_k_dense_replace\": 1", with: "first_k_dense_replace\": 3")
            .replacing("n_shared_experts\": 1", with: "n_shared_experts\": 4")
        var whole = try ModelConfiguration.parse(Data(text.utf8), file: "config.json")
        if isGiven { whole.quantization = try RandomCheckpoint.quantization(format, of: whole) }
        func random(_ configuration: ModelConfiguration) throws -> RandomModel {
            try RandomModel(configuration, format: format, rankCount: 2, seed: 5)
        }
        let all = try random(whole)
        let part = whole.keeping([0, 3, 5])
        let kept = try random(part)
        for (layer, original) in [0, 3, 5].enumerated() {
            #expect(kept.weightBytes(layer: layer) == all.weightBytes(layer: original))
        }
        let one = try random(part.keeping([2]))
        #expect(one.weightBytes(layer: 0) == all.weightBytes(layer: 5))
        #expect(one.headBytes == all.headBytes)
        // The weights that are made are stored so too, and not only counted so.
        let times = ForwardTimes()
        let model = try one.make(pool: ThreadPool(threads: 1))
        let share = RankShare(part, rankCount: 2, ranksPerNode: 1, compute: .bfloat16)
        share.traffic = [RankShare.Traffic(own: nil, arrivedTokens: 0, arrivals: [])]
        (model.rankShare, model.times) = (share, times)
        #expect(try logits(model).allSatisfy { $0.isFinite })
        let shared = try #require(times.figures[.init(.shared, layer: 0)]?.first).work
        // 3 x 128 x 256 numbers of FP8 or bf16, and none in 4 bits.
        #expect(shared.readBytes >= (format == .float8 ? 1 : 2) * 3 * 128 * 256)
    }

    @Test func `the published configuration of DeepSeek-V3 is the one that its name gives`() throws
    {
        let golden = try ModelConfiguration.load(directory: Golden.root + "/deepseek-v3")
        var named = try #require(try ModelConfiguration.published("deepseek-v3"))
        (named.beginToken, named.endTokens) = (golden.beginToken, golden.endTokens)
        #expect(named == golden)
        #expect(try ModelConfiguration.published("llama") == nil)
    }
}
