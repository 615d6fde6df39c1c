import Foundation
import Testing

@testable import Planner

/// What keys of a `config.json` say of a shape, and what their absence does.
@Suite struct ConfigurationKeysTests {
    private static let published = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Golden/published-configurations.json").standardized

    /// The shape of a published model, some of its keys left out and others replaced.
    private static func shape(
        _ name: String, without keys: [String] = [], _ changes: String = "{}"
    ) throws -> ModelShape {
        let root = try JSONSerialization.jsonObject(with: Data(contentsOf: published))
        var model = try #require((root as? [String: Any])?[name] as? [String: Any])
        for key in keys { model[key] = nil }
        let changed = try JSONSerialization.jsonObject(with: Data(changes.utf8))
        for (key, value) in try #require(changed as? [String: Any]) { model[key] = value }
        let file = FileManager.default.temporaryDirectory
            .appending(path: "\(UUID().uuidString).json")
        try JSONSerialization.data(withJSONObject: model).write(to: file)
        let path = file.path(percentEncoded: false)
        let shape = Result<ModelShape, any Error> { try ModelShape(named: path) }
        try FileManager.default.removeItem(at: file)
        return try shape.get()
    }

    @Test(
        arguments: [
            ([], "{}", 21), (["indexer_types"], "{}", 21),
            (["indexer_types", "index_topk_freq"], "{}", 78),
            (
                ["indexer_types", "mlp_layer_types"],
                #"{"num_hidden_layers": 4, "index_topk_pattern": "FSFS"}"#, 2
            ),
            (
                ["indexer_types", "mlp_layer_types"],
                #"{"num_hidden_layers": 2, "index_topk_pattern": ["full", "shared"]}"#, 1
            ),
        ] as [([String], String, Int)])
    func `blocks that choose are counted by list, pattern or stride`(
        absent: [String], changes: String, layers: Int
    ) throws {
        let shape = try Self.shape("GLM-5.2", without: absent, changes)
        #expect(shape.indexer?.layers == layers)
    }

    @Test(arguments: ["DeepSeek-V3.2", "GLM-5.1"])
    func `an indexer without keys has its family's sizes`(name: String) throws {
        let keys = ["index_topk", "index_n_heads", "index_head_dim"]
        let shape = try Self.shape(name)
        #expect(shape.indexer?.count == 2048)
        #expect(try Self.shape(name, without: keys) == shape)
        let other = #"{"architectures": ["DeepseekV3ForCausalLM"]}"#
        #expect(try Self.shape(name, without: keys, other).indexer == nil)
    }

    @Test(
        arguments: [
            ("GLM-4.5", "{}", 1, 1), ("GLM-5.1", "{}", 3, 1), ("DeepSeek-R1", "{}", 0, 0),
            ("GLM-4.5", #"{"n_shared_experts": null, "first_k_dense_replace": null}"#, 1, 0),
        ] as [(String, String, Int, Int)])
    func `first blocks and shared experts without keys are the family's`(
        name: String, changes: String, dense: Int, shared: Int
    ) throws {
        let keys = ["first_k_dense_replace", "n_shared_experts"]
        let shape = try Self.shape(name, without: keys, changes)
        #expect(shape.denseLayers == dense && shape.sharedExperts == shared)
    }

    /// Qwen3-MoE's output projection takes `attention_bias` too, GLM-4.5's does not.
    @Test(
        arguments: [
            ("Qwen3-30B-A3B", 48, 40 * 128 + 2048),
            ("GLM-4.5", 92, 112 * 128),
        ] as [(String, Int, Int)])
    func `biases of attention are counted`(name: String, blocks: Int, width: Int) throws {
        let with = try Self.shape(name, #"{"attention_bias": true}"#)
        let without = try Self.shape(name, #"{"attention_bias": false}"#)
        #expect(with.totalParameters - without.totalParameters == Double(blocks * width))
    }

    @Test func `a window that no block uses is planned`() throws {
        let changes = """
            {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4096,
            "use_sliding_window": false}
            """
        #expect(try Self.shape("Qwen3-30B-A3B", changes) == Self.shape("Qwen3-30B-A3B"))
    }

    /// Qwen's files name a window that their switch turns off; a null one is none.
    @Test(
        arguments: [
            #"{"sliding_window": 4096, "use_sliding_window": false}"#,
            #"{"sliding_window": null, "use_sliding_window": null}"#,
            #"{"full_attention_interval": 1, "attn_layer_period": 1, "linear_attn_config": null}"#,
            #"{"num_experts_per_tok": null, "num_experts_per_token": 8}"#,
            #"{"num_experts_per_tok": null, "experts_per_token": 8}"#,
            #"{"num_experts_per_tok": null, "moe_k": 8}"#,
        ])
    func `keys that change nothing, and other spellings, are taken`(changes: String) throws {
        #expect(try Self.shape("Qwen3-30B-A3B", changes) == Self.shape("Qwen3-30B-A3B"))
    }

    @Test(
        arguments: [
            (
                "GLM-4.5", #"{"sliding_window": 4096}"#,
                "sliding_window: 4096 is not planned in every block"
            ),
            (
                "Qwen3-30B-A3B", #"{"linear_attn_config": {"kda_layers": [1, 2]}}"#,
                "linear_attn_config: is there: linear attention is not planned"
            ),
            (
                "Qwen3-30B-A3B", #"{"full_attention_interval": 4}"#,
                "full_attention_interval: 4: blocks without full attention are not planned"
            ),
            (
                "Qwen3-30B-A3B", #"{"attn_layer_period": 8}"#,
                "attn_layer_period: 8: blocks without full attention are not planned"
            ),
            (
                "MiniMax-M2", #"{"num_experts_per_tok": null}"#,
                "num_experts_per_tok: is missing beside num_local_experts"
            ),
            (
                "MiniMax-M2", #"{"num_experts_per_tok": null, "moe_k": 257}"#,
                "moe_k: 257 is not 1 to 256"
            ),
            (
                "GLM-5.2", #"{"indexer_types": ["full"]}"#,
                "indexer_types: lists 1 blocks; num_hidden_layers is 78"
            ),
            (
                "GLM-5.2", #"{"indexer_types": null, "index_topk_pattern": "FS"}"#,
                "index_topk_pattern: lists 2 blocks; num_hidden_layers is 78"
            ),
            (
                "GLM-5.2",
                #"{"indexer_types": ["a\nb"], "num_hidden_layers": 1, "mlp_layer_types": null}"#,
                #"indexer_types: "a\nb" is neither full nor shared"#
            ),
            (
                "GLM-5.2",
                #"{"indexer_types": ["shared"], "num_hidden_layers": 1, "mlp_layer_types": null}"#,
                "indexer_types: makes block 0 shared"
            ),
            (
                "GLM-5.2", #"{"indexer_types": null, "index_skip_topk_offset": 0}"#,
                "index_skip_topk_offset: 0 with index_topk_freq 4 leaves block 0"
            ),
            (
                "GLM-5.2", #"{"mlp_layer_types": ["dense"]}"#,
                "mlp_layer_types: lists 1 blocks; num_hidden_layers is 78"
            ),
            (
                "GLM-5.2", #"{"mlp_layer_types": ["wide"], "num_hidden_layers": 1}"#,
                #"mlp_layer_types: "wide" is neither dense nor sparse"#
            ),
            (
                "DeepSeek-R1",
                #"{"num_hidden_layers": 4, "mlp_layer_types": ["dense", "dense","dense","dense"]}"#,
                "mlp_layer_types: makes block 3 dense; first_k_dense_replace is 3"
            ),
            (
                "DeepSeek-R1",
                """
                {"num_hidden_layers": 1, "first_k_dense_replace": null, "moe_layer_freq": [1],
                "mlp_layer_types": ["dense"]}
                """, "mlp_layer_types: differs from moe_layer_freq"
            ),
            ("DeepSeek-R1", #"{"moe_layer_freq": 0}"#, "moe_layer_freq: 0 is not 1 to 4096"),
            (
                "Kimi-K2.5", #"{"text_config": {"hidden_size": "wide"}}"#,
                "text_config.hidden_size is not of type"
            ),
            (
                "GLM-5.2", #"{"index_topk_freq": -1}"#, "index_topk_freq: -1 is not 0 to 4096"
            ),
            (
                "GLM-4.5", #"{"n_shared_experts": 9223372036854775807}"#,
                "n_shared_experts: 9223372036854775807 is not 0 to 65536"
            ),
            (
                "GLM-4.5", #"{"first_k_dense_replace": -5}"#,
                "first_k_dense_replace: -5 is not 0 to 4096"
            ),
            (
                "DeepSeek-R1", #"{"v_head_dim": 9223372036854775807}"#,
                "v_head_dim: 9223372036854775807 is not 1 to 65536"
            ),
            (
                "Qwen3-30B-A3B", #"{"linear_num_value_heads": 32}"#,
                "linear_num_value_heads: 32: linear attention is not planned"
            ),
            (
                "Qwen3-30B-A3B", #"{"shared_expert_intermediate_size": 512}"#,
                "shared_expert_intermediate_size: 512"
            ),
            (
                "MiniMax-M2", #"{"shared_intermediate_size": 512}"#,
                "shared_intermediate_size: 512"
            ),
            ("MiniMax-M2", #"{"attn_type_list": [1, 0, 1]}"#, "attn_type_list: 0 is not planned"),
            (
                "Qwen3-30B-A3B", #"{"layer_types": ["full_attention", "linear_attention"]}"#,
                #"layer_types: "linear_attention" is not planned"#
            ),
            (
                "MiniMax-M2", #"{"layer_types": ["sliding_attention"], "sliding_window": 128}"#,
                #"layer_types: "sliding_attention" is not planned"#
            ),
            (
                "Qwen3-30B-A3B",
                #"{"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 8}"#,
                "use_sliding_window: true: a window of 4096 is not planned"
            ),
        ] as [(String, String, String)])
    func `what cannot be planned is refused by key and value`(
        name: String, changes: String, words: String
    ) throws {
        let error = #expect(throws: PlanError.self) { try Self.shape(name, changes) }
        let line = "\(try #require(error))"
        #expect(line.contains(words) && !line.contains("\n"), "\(line)")
    }
}
