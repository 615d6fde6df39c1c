import Checkpoints
import Collectives
import Encoding
import Foundation
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Models

/// Networks with an indexer, on small random checkpoints; `LayoutTests` and `TransformersTests`
/// compare their numbers with other programs.
@Suite final class SparseModelTests {
    /// GLM-5.2's shape in small: blocks that share a choice, and an MTP block.
    static let glm: [(String, JSONValue)] = [
        ("architectures", ["GlmMoeDsaForCausalLM"]), ("model_type", "glm_moe_dsa"),
        ("hidden_size", 64), ("intermediate_size", 96), ("moe_intermediate_size", 32),
        ("num_hidden_layers", 4), ("first_k_dense_replace", 1), ("num_attention_heads", 4),
        ("num_key_value_heads", 4), ("n_routed_experts", 8), ("n_shared_experts", 1),
        ("num_experts_per_tok", 2), ("n_group", 1), ("topk_group", 1), ("q_lora_rank", 48),
        ("routed_scaling_factor", .number(2.5)),
        ("kv_lora_rank", 32), ("qk_rope_head_dim", 8), ("qk_nope_head_dim", 16),
        ("v_head_dim", 16), ("vocab_size", 200), ("max_position_embeddings", 512),
        ("rms_norm_eps", .number(1e-05)), ("num_nextn_predict_layers", 1),
        ("initializer_range", .number(0.15)),
        ("index_topk", 8), ("index_n_heads", 4), ("index_head_dim", 24),
        ("indexer_types", ["full", "shared", "full", "shared"]),
    ]
    /// DeepSeek-V3.2's: every block chooses.
    static let v32: [(String, JSONValue)] = [
        ("architectures", ["DeepseekV32ForCausalLM"]), ("model_type", "deepseek_v32"),
        ("indexer_types", .null), ("index_topk", 16),
    ]

    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
    let pool = ThreadPool(threads: 2)

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private static func text(_ changes: [(String, JSONValue)]) -> Data {
        var members = glm
        for (key, value) in changes {
            members.removeAll { $0.0 == key }
            members.append((key, value))
        }
        return Data(JSONValue.object(members).encoded().utf8)
    }

    /// A random checkpoint of GLM-5.2's shape with some keys replaced.
    private func make(
        _ changes: [(String, JSONValue)] = [], format: RandomCheckpoint.Format = .bfloat16
    ) throws -> Golden {
        let file = folder.appending(path: "\(UUID()).json")
        try Self.text(changes).write(to: file)
        let path = folder.appending(path: "\(UUID())").path
        try RandomCheckpoint(configurationFile: file.path, seed: 5, format: format)
            .write(to: path, pool: pool)
        return try Golden(directory: path)
    }

    /// The same weights under another `config.json`.
    private func relabelled(_ golden: Golden, _ changes: [(String, JSONValue)]) throws -> Golden {
        let path = folder.appending(path: "\(UUID())").path
        try FileManager.default.copyItem(atPath: golden.directory, toPath: path)
        try Self.text(changes).write(to: URL(filePath: path + "/config.json"))
        return try Golden(directory: path)
    }

    private static func tokens(_ count: Int, seed: UInt64 = 9) -> [Int] {
        var random = SplitMix64(seed: seed)
        return (0 ..< count).map { _ in Int.random(in: 0 ..< 200, using: &random) }
    }

    /// The logits of a text that is shown in pieces of these sizes, then one by one.
    private static func logits(
        _ model: Model, _ tokens: [Int], _ cache: BlockCache, pieces: [Int], first: Int = 0
    ) throws -> [Float] {
        let blocks = cache.blocks(tokens: tokens.count, from: first)
        var (position, index) = (0, 0)
        var logits: [Float] = []
        while position < tokens.count {
            let size = index < pieces.count ? pieces[index] : 1
            let end = min(position + size, tokens.count)
            let chunk = SequenceChunk(
                tokens: Array(tokens[position ..< end]), position: position, blocks: blocks,
                wanted: .all)
            logits += try model.forward([chunk], cache: cache).logits.values
            (position, index) = (end, index + 1)
        }
        return logits
    }

    @Test(arguments: [glm, v32])
    func `up to index_topk tokens the numbers are those of dense attention`(
        changes: [(String, JSONValue)]
    ) throws {
        let sparse = try make(changes)
        let dense = try relabelled(
            sparse,
            changes + [
                ("architectures", ["DeepseekV3ForCausalLM"]), ("index_topk", .null),
                ("indexer_types", .null), ("index_n_heads", .null), ("index_head_dim", .null),
            ])
        let count = try #require(sparse.configuration.sparseIndexCount)
        let tokens = Self.tokens(count + 30)
        let vocabulary = sparse.configuration.vocabularySize
        for compute in Compute.allCases {
            let a = try Self.logits(
                sparse.model(compute: compute), tokens, sparse.cache(), pieces: [99])
            let b = try Self.logits(
                dense.model(compute: compute), tokens, dense.cache(), pieces: [99])
            #expect(a.prefix(count * vocabulary) == b.prefix(count * vocabulary))
            #expect(a.suffix(vocabulary) != b.suffix(vocabulary))
        }
    }

    @Test(arguments: [glm, v32], Compute.allCases)
    func `a prompt in pieces has the bits of the whole`(
        changes: [(String, JSONValue)], compute: Compute
    ) throws {
        let golden = try make(changes, format: .float8)
        let tokens = Self.tokens(70)
        let whole = try Self.logits(
            golden.model(compute: compute, threads: 1), tokens, golden.cache(), pieces: [70])
        for (pieces, threads) in [([7, 1, 30], 2), ([], 1), ([20, 33], 3)] {
            let model = try golden.model(compute: compute, threads: threads)
            #expect(
                try Self.logits(model, tokens, golden.cache(), pieces: pieces) == whole)
        }
    }

    @Test func `a sequence's numbers do not depend on the batch`() throws {
        let golden = try make()
        let model = try golden.model()
        let lengths = [60, 5, 33, 9]
        let cache = golden.cache(blocks: 20)
        let alone = try lengths.enumerated().map { index, length in
            try Self.logits(
                model, Self.tokens(length, seed: UInt64(index)), golden.cache(), pieces: [length])
        }
        var together = [[Float]](repeating: [], count: lengths.count)
        for step in 0 ..< 12 {
            var chunks: [SequenceChunk] = []
            var rows: [(sequence: Int, count: Int)] = []
            for (index, length) in lengths.enumerated() {
                let range = length * step / 12 ..< length * (step + 1) / 12
                guard !range.isEmpty else { continue }
                let text = Self.tokens(length, seed: UInt64(index))
                chunks.append(
                    SequenceChunk(
                        tokens: Array(text[range]), position: range.lowerBound,
                        blocks: cache.blocks(tokens: length, from: index * 5), wanted: .all))
                rows.append((index, range.count))
            }
            let logits = try model.forward(chunks, cache: cache).logits
            var row = 0
            for (sequence, count) in rows {
                together[sequence] += logits.view(rows: row ..< row + count).values
                row += count
            }
        }
        #expect(together == alone)
    }

    @Test(arguments: 1 ... 4)
    func `ranks that share experts and interleave two batches give the bits of one`(
        ranks: Int
    ) throws {
        let golden = try make()
        let tokens = Self.tokens(50)
        let expected = try Self.logits(
            golden.model(threads: 1), tokens, golden.cache(), pieces: [13, 37])
        let results = try onRanks(ranks) { fabric in
            let configuration = golden.configuration
            let map = try configuration.expertMap(rankCount: ranks)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: configuration.expertParallel(
                    maximumTokensPerRank: 128, compute: .float32), map: map)
            let model = try Model(
                golden.checkpoint, configuration: configuration,
                options: ModelOptions(compute: .float32), pool: ThreadPool(threads: 1),
                shared: SharedExperts(group, map))
            let cache = golden.cache()
            let first = cache.blocks(tokens: 50)
            let second = cache.blocks(tokens: 50, from: first.count)
            var logits: [Float] = []
            for range in [0 ..< 13, 13 ..< 50] {
                let (a, b) = try model.forward(
                    [
                        SequenceChunk(
                            tokens: Array(tokens[range]), position: range.lowerBound,
                            blocks: first, wanted: .all)
                    ],
                    [
                        SequenceChunk(
                            tokens: Array(tokens[range]), position: range.lowerBound,
                            blocks: second, wanted: .all)
                    ], cache: cache)
                guard a.logits.values == b.logits.values else { return [Float]() }
                logits += a.logits.values
            }
            return logits
        }
        for result in results { #expect(result == expected) }
    }

    @Test func `texts that share cached blocks have the numbers of their own`() throws {
        let golden = try make()
        let model = try golden.model()
        let cache = golden.cache(blocks: 12)
        let tokens = Self.tokens(60)
        _ = try Self.logits(model, tokens, cache, pieces: [60])
        // 32 tokens in two shared blocks, then another continuation in blocks of its own.
        let other = Array(tokens.prefix(32)) + Self.tokens(28, seed: 77)
        let blocks = cache.blocks(tokens: 32) + cache.blocks(tokens: 28, from: 8)
        let chunk = SequenceChunk(
            tokens: Array(other.suffix(28)), position: 32, blocks: blocks, wanted: .all)
        let shared = try model.forward([chunk], cache: cache).logits.values
        let alone = try Self.logits(model, other, golden.cache(), pieces: [60])
        #expect(shared == Array(alone.suffix(28 * 200)))
    }

    @Test func `tokens after rejected drafts have the numbers of a text without drafts`() throws {
        let golden = try make()
        let model = try golden.model()
        let tokens = Self.tokens(40)
        let cache = golden.cache()
        let blocks = cache.blocks(tokens: 48)
        func show(_ tokens: [Int], at position: Int) throws -> ForwardResult {
            try model.forward(
                [
                    SequenceChunk(
                        tokens: tokens, position: position, blocks: blocks, wanted: .all)
                ], cache: cache, keepsHidden: true)
        }
        var logits = try show(Array(tokens.prefix(20)), at: 0).logits.values
        for position in 20 ..< 40 {
            // The token itself, and three drafts that are wrong.
            let result = try show([tokens[position], 7, 8, 9], at: position)
            logits += result.logits.view(rows: 0 ..< 1).values
            let drafted = try model.draft(
                [SequenceChunk(tokens: [7], position: position, blocks: blocks)],
                hidden: try #require(result.hidden).view(rows: 0 ..< 1), cache: cache)
            #expect(drafted.logits.values.allSatisfy { $0.isFinite })
        }
        #expect(logits == (try Self.logits(model, tokens, golden.cache(), pieces: [40])))
    }

    @Test func `an MTP block chooses for itself, in pieces as in whole`() throws {
        let golden = try make()
        let model = try golden.model()
        let tokens = Self.tokens(41)
        func drafts(_ sizes: [Int]) throws -> [Float] {
            let cache = golden.cache()
            let blocks = cache.blocks(tokens: 41)
            var logits: [Float] = []
            var start = 0
            for size in sizes {
                let range = start ..< start + size
                let hidden = try model.forward(
                    [
                        SequenceChunk(
                            tokens: Array(tokens[range]), position: start, blocks: blocks,
                            wanted: .none)
                    ], cache: cache, keepsHidden: true
                ).hidden
                let following = Array(tokens[start + 1 ... start + size])
                logits += try model.draft(
                    [
                        SequenceChunk(
                            tokens: following, position: start, blocks: blocks, wanted: .all)
                    ], hidden: try #require(hidden), cache: cache
                ).logits.values
                start += size
            }
            return logits
        }
        let whole = try drafts([40])
        #expect(try drafts([11, 1, 28]) == whole)
        // The 9th token is the first that does not see all.
        let dense = try relabelled(golden, [("index_topk", 100)])
        #expect(try draftsOfWhole(dense, tokens).prefix(8 * 200) == whole.prefix(8 * 200))
        #expect(try draftsOfWhole(dense, tokens).suffix(200) != whole.suffix(200))
    }

    private func draftsOfWhole(_ golden: Golden, _ tokens: [Int]) throws -> [Float] {
        let model = try golden.model()
        let cache = golden.cache()
        let blocks = cache.blocks(tokens: 41)
        let hidden = try model.forward(
            [
                SequenceChunk(
                    tokens: Array(tokens.prefix(40)), position: 0, blocks: blocks, wanted: .none)
            ], cache: cache, keepsHidden: true
        ).hidden
        return try model.draft(
            [
                SequenceChunk(
                    tokens: Array(tokens.suffix(40)), position: 0, blocks: blocks, wanted: .all)
            ], hidden: try #require(hidden), cache: cache
        ).logits.values
    }
}
