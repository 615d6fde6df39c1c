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

/// What a network with grouped queries keeps, whatever shares its work.
@Suite final class GroupedNetworkTests {
    /// Small networks of each family, with what its releases have.
    static let shapes = [
        "qwen": """
        {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 96,
         "intermediate_size": 128, "moe_intermediate_size": 64, "num_hidden_layers": 3,
         "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8,
         "num_experts_per_tok": 3, "norm_topk_prob": true, "decoder_sparse_step": 1,
         "attention_bias": true, "mlp_only_layers": [1], "vocab_size": 300,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000,
         "initializer_range": 0.08}
        """,
        "glm": """
        {"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe", "hidden_size": 96,
         "intermediate_size": 128, "moe_intermediate_size": 64, "num_hidden_layers": 3,
         "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 32,
         "n_routed_experts": 8, "num_experts_per_tok": 3, "n_shared_experts": 1, "n_group": 1,
         "topk_group": 1, "first_k_dense_replace": 1, "routed_scaling_factor": 2.5,
         "norm_topk_prob": true, "attention_bias": true, "use_qk_norm": true,
         "partial_rotary_factor": 0.5, "num_nextn_predict_layers": 1, "vocab_size": 300,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000,
         "initializer_range": 0.08}
        """,
        "minimax": """
        {"architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2", "hidden_size": 96,
         "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 1, "head_dim": 32, "rotary_dim": 16, "num_local_experts": 8,
         "num_experts_per_tok": 3, "use_qk_norm": true, "use_routing_bias": true,
         "scoring_func": "sigmoid", "qk_norm_type": "per_layer", "vocab_size": 300,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000,
         "initializer_range": 0.08}
        """,
        "oss": """
        {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 96,
         "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 6,
         "num_key_value_heads": 2, "head_dim": 32, "num_local_experts": 8,
         "num_experts_per_tok": 3, "attention_bias": true, "sliding_window": 16,
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
         "swiglu_limit": 7.0, "vocab_size": 300, "max_position_embeddings": 256,
         "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
         "original_max_position_embeddings": 64, "truncate": false}, "rope_theta": 150000,
         "rms_norm_eps": 1e-05, "initializer_range": 0.08}
        """,
    ]

    /// The formats that its folders have.
    static func formats(of family: String) -> [RandomCheckpoint.Format] {
        family == "oss" ? [.bfloat16, .mxfp4] : RandomCheckpoint.Format.allCases
    }

    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func make(
        _ family: String, _ format: RandomCheckpoint.Format = .bfloat16
    ) throws -> ModelFolder {
        let file = folder.appending(path: family + ".json")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(#require(Self.shapes[family]).utf8).write(to: file)
        let path = folder.appending(path: family).path
        try RandomCheckpoint(configurationFile: file.path, seed: 3, format: format)
            .write(to: path, pool: ThreadPool(threads: 2))
        return try ModelFolder(directory: path)
    }

    private static func model(
        _ folder: ModelFolder, _ compute: Compute, threads: Int = 1, shared: SharedExperts? = nil
    ) throws -> Model {
        try Model(
            folder.checkpoint, configuration: folder.configuration,
            options: ModelOptions(compute: compute), pool: ThreadPool(threads: threads),
            shared: shared)
    }

    private static func cache(
        _ folder: ModelFolder, _ format: EntryFormat = .bfloat16
    ) -> BlockCache {
        BlockCache(
            configuration: folder.configuration, format: format, blockCount: 40, blockTokens: 16)
    }

    private static let tokens = (0 ..< 61).map { ($0 * $0 * 31 + 7 * $0) % 300 }

    /// The logits of every token, in pieces, beside other sequences or alone.
    private static func logits(
        _ model: Model, _ cache: BlockCache, pieces: Int, others: Int = 0, leader: Rank? = nil,
        isIdle: Bool = false
    ) throws -> [Float] {
        let blocks = cache.blocks(tokens: Self.tokens.count)
        var logits: [Float] = []
        for start in stride(from: 0, to: Self.tokens.count, by: pieces) {
            let end = min(start + pieces, Self.tokens.count)
            var chunks = (0 ..< others).map { other in
                SequenceChunk(
                    tokens: Array(repeating: (start + other) % 300, count: other + 1),
                    position: 0,
                    blocks: cache.blocks(tokens: 16, from: blocks.count + other), wanted: .none)
            }
            chunks.append(
                SequenceChunk(
                    tokens: Array(Self.tokens[start ..< end]), position: start, blocks: blocks,
                    wanted: .all))
            logits += try model.forward(isIdle ? [] : chunks, cache: cache, leader: leader)
                .logits.values
        }
        return logits
    }

    @Test(arguments: shapes.keys.sorted(), EntryFormat.allCases)
    func `a token's logits have the same bits whatever shares its batch`(
        family: String, format: EntryFormat
    ) throws {
        for storage in Self.formats(of: family) where storage != .mxfp4 || family == "oss" {
            let folder = try make(family, storage)
            defer { try? FileManager.default.removeItem(at: self.folder) }
            for compute in Compute.allCases {
                let whole = try Self.logits(
                    Self.model(folder, compute), Self.cache(folder, format),
                    pieces: Self.tokens.count)
                #expect(!whole.contains { !$0.isFinite })
                for (threads, pieces, others) in [(2, 7, 0), (3, 1, 2), (1, 16, 3)] {
                    let same = try Self.logits(
                        Self.model(folder, compute, threads: threads), Self.cache(folder, format),
                        pieces: pieces, others: others)
                    #expect(same == whole, "\(storage), \(compute), pieces of \(pieces)")
                }
            }
        }
    }

    @Test(arguments: shapes.keys.sorted(), [1, 2, 3, 4, 8])
    func `any number of ranks gives the bits of one`(family: String, ranks: Int) throws {
        let folder = try make(family, family == "oss" ? .mxfp4 : .bfloat16)
        for compute in Compute.allCases {
            let expected = try Self.logits(
                Self.model(folder, compute), Self.cache(folder), pieces: 20)
            let results = try onRanks(ranks) { fabric in
                let configuration = folder.configuration
                let map = try configuration.expertMap(rankCount: ranks)
                let group = try ExpertParallelGroup(
                    fabric: fabric,
                    configuration: configuration.expertParallel(
                        maximumTokensPerRank: 128, compute: compute), map: map)
                return try Self.logits(
                    Self.model(folder, compute, shared: SharedExperts(group, map)),
                    Self.cache(folder), pieces: 20)
            }
            for result in results { #expect(result == expected) }
        }
    }

    @Test(arguments: shapes.keys.sorted(), [2, 4])
    func `a node computes one rank's rows with the bits of that rank alone`(
        family: String, ranks: Int
    ) throws {
        let folder = try make(family, family == "oss" ? .mxfp4 : .float8)
        for compute in Compute.allCases {
            let expected = try Self.logits(
                Self.model(folder, compute), Self.cache(folder), pieces: 20)
            let results = try onRanks(ranks) { fabric in
                let configuration = folder.configuration
                let map = try configuration.expertMap(rankCount: ranks)
                let group = try ExpertParallelGroup(
                    fabric: fabric,
                    configuration: configuration.expertParallel(
                        maximumTokensPerRank: 128, compute: compute), map: map)
                var options = ModelOptions(compute: compute)
                options.sharedRows = 20
                let model = try Model(
                    folder.checkpoint, configuration: configuration, options: options,
                    pool: ThreadPool(threads: 1), shared: SharedExperts(group, map))
                return try Self.logits(
                    model, Self.cache(folder), pieces: 20, leader: 1, isIdle: fabric.rank != 1)
            }
            for (rank, result) in results.enumerated() {
                #expect(result == (rank == 1 ? expected : []), "\(compute), rank \(rank)")
            }
        }
    }

    @Test(arguments: shapes.keys.sorted())
    func `a prefix that another sequence cached gives the bits of an own one`(
        family: String
    ) throws {
        let folder = try make(family)
        let model = try Self.model(folder, .bfloat16)
        let cache = Self.cache(folder)
        let whole = try Self.logits(model, cache, pieces: Self.tokens.count)
        // The second sequence reads the first two blocks of the first.
        let own = cache.blocks(tokens: 32, from: 10)
        let blocks = cache.blocks(tokens: 32) + own
        let rest = try model.forward(
            [
                SequenceChunk(
                    tokens: Array(Self.tokens[32...]), position: 32, blocks: blocks, wanted: .all)
            ], cache: cache)
        let vocabulary = folder.configuration.vocabularySize
        #expect(rest.logits.values == Array(whole[(32 * vocabulary)...]))
    }

    @Test(arguments: shapes.keys.sorted())
    func `the table has the names and shapes of a made checkpoint's tensors, and loading all`(
        family: String
    ) throws {
        for format in Self.formats(of: family) {
            let folder = try make(family, format)
            defer { try? FileManager.default.removeItem(at: self.folder) }
            #expect(folder.notes.isEmpty, "\(folder.notes)")
            try folder.check()
            let summary = try ModelSummary(
                directory: folder.checkpoint.directory, configuration: folder.configuration)
            guard format == .bfloat16 else { continue }
            let names = NetworkTensors(folder.configuration).all
            let stored = folder.checkpoint.tensors.mapValues(\.entry.shape)
            #expect(
                Dictionary(uniqueKeysWithValues: names.map { ($0.name, $0.shape) }) == stored)
            let main = names.filter { !$0.name.contains("layers.3.") }
            #expect(summary.totalParameters == main.reduce(0) { $0 + $1.elementCount })
            #expect(!folder.configuration.trains)
        }
    }

    @Test(arguments: [
        ("qwen", "attention_bias", "k_proj.bias"), ("glm", "attention_bias", "k_proj.bias"),
        ("glm", "use_qk_norm", "k_norm.weight"), ("oss", "attention_bias", "k_proj.bias"),
    ])
    func `a norm or bias that config.json does not announce is refused by its name`(
        family: String, key: String, tensor: String
    ) throws {
        let directory = try make(family).checkpoint.directory
        let text = try #require(Self.shapes[family])
        try Data(text.replacing("\"\(key)\": true", with: "\"\(key)\": false").utf8)
            .write(to: URL(filePath: directory + "/config.json"))
        let error = #expect(throws: CheckpointError.self) {
            try ModelFolder(directory: directory)
        }
        let line = "\(try #require(error))"
        #expect(line.contains("model.layers.0.self_attn.\(tensor)"), "\(line)")
        #expect(line.contains("config.json (\(key)) makes block 0 attend without it"), "\(line)")
    }

    @Test(arguments: shapes.keys.sorted().filter { $0 != "oss" })
    func `a converted checkpoint is the one that is made in that format`(family: String) throws {
        let (plain, made) = (try make(family), folder.appending(path: "made").path)
        for (format, target) in [
            (RandomCheckpoint.Format.float8, FormatConversion.Target.float8), (.int4, .int4),
            (.mxfp4, .mxfp4),
        ] {
            let out = folder.appending(path: target.rawValue).path
            let pool = ThreadPool(threads: 2)
            try FormatConversion(to: target).run(
                source: plain.checkpoint.directory, target: out, pool: pool)
            let file = folder.appending(path: family + ".json").path
            try RandomCheckpoint(configurationFile: file, seed: 3, format: format)
                .write(to: made, pool: pool)
            let bytes = try [out, made].map {
                try Data(contentsOf: URL(filePath: $0 + "/model.safetensors"))
            }
            #expect(bytes[0] == bytes[1], "\(target)")
            try ModelFolder(directory: out).check()
            try FileManager.default.removeItem(atPath: made)
        }
    }

    @Test func `a block of multi-token prediction drafts, in pieces as at once`() throws {
        let folder = try make("glm")
        let model = try Self.model(folder, .float32)
        #expect(model.canDraft)
        func drafts(_ pieces: Int) throws -> [Float] {
            let cache = Self.cache(folder)
            let blocks = cache.blocks(tokens: Self.tokens.count)
            var logits: [Float] = []
            for start in stride(from: 0, to: 60, by: pieces) {
                let tokens = Array(Self.tokens[start ..< start + pieces])
                let main = try model.forward(
                    [SequenceChunk(tokens: tokens, position: start, blocks: blocks)],
                    cache: cache, keepsHidden: true)
                let following = Array(Self.tokens[start + 1 ... start + pieces])
                logits += try model.draft(
                    [
                        SequenceChunk(
                            tokens: following, position: start, blocks: blocks, wanted: .all)
                    ], hidden: #require(main.hidden), cache: cache
                ).logits.values
            }
            return logits
        }
        #expect(try drafts(12) == drafts(60))
    }
}
