import Encoding
import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

/// What is said of a `config.json` of a network with grouped queries.
@Suite struct GroupedConfigurationTests {
    /// The small configuration of a family with some keys replaced.
    private func parse(_ family: String, _ changes: String) throws -> ModelConfiguration {
        let text = try #require(GroupedNetworkTests.shapes[family])
        var members = try #require(JSONValue.parse(Array(text.utf8)).object)
        for (key, value) in try #require(JSONValue.parse(Array(changes.utf8)).object) {
            members.removeAll { $0.key == key }
            members.append((key, value))
        }
        return try ModelConfiguration.parse(
            Data(JSONValue.object(members).encoded().utf8), file: "c")
    }

    @Test(arguments: [
        ("qwen", #"{"num_experts": 0}"#, "c: num_experts: 0 is outside 1...65536"),
        ("qwen", #"{"num_experts": null}"#, "c: num_experts: is "),
        ("qwen", #"{"num_local_experts": 9}"#, "c: num_local_experts: 9; num_experts is 8"),
        ("qwen", #"{"num_experts_per_tok": 9}"#, "9 is outside 1...8 (num_experts)"),
        ("qwen", #"{"head_dim": 33}"#, "c: head_dim: 33 is odd; keys are read in pairs"),
        ("qwen", #"{"head_dim": -2}"#, "c: head_dim: -2 is outside 1...4096"),
        ("qwen", #"{"head_dim": 9223372036854775807}"#, "c: head_dim: 9223372036854775807 is out"),
        ("qwen", #"{"num_attention_heads": 0}"#, "c: num_attention_heads: 0 is outside"),
        ("qwen", #"{"num_key_value_heads": 4}"#, "4 does not divide num_attention_heads 6"),
        ("qwen", #"{"num_key_value_heads": 7}"#, "7 is outside 1...6 (num_attention_heads)"),
        ("qwen", #"{"num_key_value_heads": null}"#, "c: num_key_value_heads: is "),
        ("qwen", #"{"decoder_sparse_step": 0}"#, "c: decoder_sparse_step: 0 is outside 1...1024"),
        ("qwen", #"{"mlp_only_layers": [3]}"#, "c: mlp_only_layers: block 3 is outside 0...2"),
        ("qwen", #"{"mlp_only_layers": "x"}"#, "c: mlp_only_layers: "),
        ("qwen", #"{"use_sliding_window": true}"#, "c: use_sliding_window: true is not run"),
        ("qwen", #"{"hidden_act": "gelu"}"#, "c: hidden_act: \"gelu\" is not run"),
        ("qwen", #"{"partial_rotary_factor": 0.5}"#, "c: partial_rotary_factor: 0.5 is not run"),
        ("qwen", #"{"kv_lora_rank": 64}"#, "c: kv_lora_rank: 64 is the value of an unknown key"),
        ("qwen", #"{"n_routed_experts": 8}"#, "c: n_routed_experts: 8 is the value of an unknown"),
        ("qwen", #"{"scoring_func": "sigmoid"}"#, "c: scoring_func: \"sigmoid\" is the value of"),
        ("qwen", #"{"qkv_bias": true}"#, "c: qkv_bias: true is not run; taken is false"),
        ("qwen", #"{"use_qk_norm": false}"#, "c: use_qk_norm: false is not run; taken is true"),
        (
            "qwen", #"{"shared_expert_intermediate_size": 8}"#,
            "c: shared_expert_intermediate_size: 8 is not run; taken is 0"
        ),
        (
            "qwen", #"{"layer_types": ["sliding_attention"]}"#,
            "c: layer_types: \"sliding_attention\""
        ),
        ("glm", #"{"partial_rotary_factor": 1.5}"#, "c: partial_rotary_factor: 1.5; taken is one"),
        ("glm", #"{"partial_rotary_factor": 0}"#, "c: partial_rotary_factor: 0 is outside 2...32"),
        ("glm", #"{"partial_rotary_factor": 0.1}"#, "c: partial_rotary_factor: 3 is odd"),
        (
            "glm", #"{"rope_parameters": {"partial_rotary_factor": 0.25}}"#,
            "c: partial_rotary_factor: 0.5 and 0.25; taken is one share"
        ),
        ("glm", #"{"first_k_dense_replace": -1}"#, "c: first_k_dense_replace: -1 is outside"),
        ("glm", #"{"n_group": 3}"#, "c: n_group: 3 does not divide n_routed_experts 8"),
        ("glm", #"{"num_mtp_layers": 2}"#, "c: num_mtp_layers: 2; num_nextn_predict_layers is 1"),
        ("minimax", #"{"rotary_dim": 34}"#, "c: rotary_dim: 34 is outside 2...32"),
        ("minimax", #"{"rotary_dim": 7}"#, "c: rotary_dim: 7 is odd; rotation pairs its values"),
        (
            "minimax", #"{"partial_rotary_factor": 0.25}"#,
            "c: rotary_dim: 16; partial_rotary_factor 0.25 of head_dim 32 is 8"
        ),
        (
            "minimax", #"{"rope_parameters": {"partial_rotary_factor": 1}}"#,
            "c: rotary_dim: 16; partial_rotary_factor 1.0 of head_dim 32 is 32"
        ),
        ("minimax", #"{"attn_type_list": [1, 0, 1]}"#, "c: attn_type_list: 0 is not run"),
        ("minimax", #"{"use_qk_norm": false}"#, "c: use_qk_norm: false is not run; taken is true"),
        ("minimax", #"{"shared_intermediate_size": 8}"#, "c: shared_intermediate_size: 8 is not"),
        ("minimax", #"{"intermediate_size": 0}"#, "c: intermediate_size: 0 is outside"),
        ("minimax", #"{"scoring_func": "softmax"}"#, "c: scoring_func: \"softmax\" is not run"),
        ("oss", #"{"layer_types": ["chunked_attention"]}"#, "c: layer_types: \"chunked_attention"),
        ("oss", #"{"layer_types": ["full_attention"]}"#, "lists 1 blocks; num_hidden_layers is 3"),
        ("oss", #"{"sliding_window": null}"#, "c: sliding_window: is null; layer_types makes"),
        ("oss", #"{"sliding_window": 0}"#, "c: sliding_window: 0 is outside 1..."),
        ("oss", #"{"sliding_window": 1.5}"#, "c: sliding_window: 1.5 is not a whole number"),
        ("oss", #"{"swiglu_limit": 0}"#, "c: swiglu_limit: 0.0 is outside 0.001...1000.0"),
        ("oss", #"{"swiglu_alpha": -1}"#, "c: swiglu_alpha: -1.0 is outside 0.001...1000.0"),
        ("oss", #"{"hidden_act": "gelu"}"#, "c: hidden_act: \"gelu\" is not run"),
        ("oss", #"{"use_qk_norm": true}"#, "c: use_qk_norm: true is the value of an unknown key"),
        ("oss", #"{"n_shared_experts": 1}"#, "c: n_shared_experts: 1 is the value of an unknown"),
        ("oss", #"{"norm_topk_prob": true}"#, "c: norm_topk_prob: true is the value of an unkno"),
        ("oss", #"{"rope_scaling": null}"#, "c: rope_scaling: is missing, and so is rope_param"),
        ("oss", #"{"intermediate_size": 0}"#, "c: intermediate_size: 0 is outside"),
        (
            "oss", #"{"quantization_config": {"quant_method": "fp8"}}"#,
            "c: quantization_config.quant_method: fp8 is not taken; taken are mxfp4, and weights"
        ),
        (
            "oss", #"{"quantization_config": {"quant_method": "mxfp4", "group_size": 16}}"#,
            "c: quantization_config.group_size: 16 is the value of an unknown key; mxfp4 has"
        ),
        (
            "qwen", #"{"quantization_config": {"quant_method": "mxfp4"}}"#,
            "c: quantization_config.quant_method: mxfp4 is not taken; taken are quant_method fp8"
        ),
    ])
    func `a key that describes no network is refused in the family's words`(
        family: String, changes: String, fact: String
    ) throws {
        let error = #expect(throws: ModelError.self) { _ = try parse(family, changes) }
        let line = "\(try #require(error))"
        #expect(line.contains(fact), "\(line)")
    }

    @Test(arguments: [
        ("qwen", "{}"), ("glm", "{}"), ("minimax", "{}"), ("minimax", #"{"rotary_dim": null}"#),
        ("qwen", #"{"decoder_sparse_step": 2, "mlp_only_layers": []}"#),
        ("qwen", #"{"decoder_sparse_step": 9}"#), ("qwen", #"{"tie_word_embeddings": true}"#),
        ("qwen", #"{"attention_bias": true, "head_dim": null}"#),
        ("glm", #"{"head_dim": 96, "partial_rotary_factor": 0.6666666666666666}"#),
        ("glm", #"{"head_dim": 94, "partial_rotary_factor": 0.3}"#),
        ("glm", #"{"use_qk_norm": false, "num_nextn_predict_layers": 0}"#),
        ("minimax", #"{"partial_rotary_factor": 0.5}"#), ("oss", "{}"),
        ("oss", #"{"layer_types": null, "sliding_window": 7, "swiglu_limit": 0.7}"#),
        ("oss", #"{"layer_types": ["full_attention", "full_attention", "full_attention"]}"#),
        ("oss", #"{"attention_bias": false, "swiglu_alpha": 1.5, "head_dim": null}"#),
        ("oss", #"{"quantization_config": {"quant_method": "mxfp4", "dequantize": false}}"#),
        ("minimax", #"{"rotary_dim": null, "rope_parameters": {"partial_rotary_factor": 0.25}}"#),
        (
            "qwen",
            #"{"qkv_bias": false, "shared_expert_intermediate_size": 0, "use_qk_norm": true}"#
        ),
        (
            "glm",
            #"""
            {"rope_scaling": {"rope_type": "yarn", "factor": 2.3, "mscale": 0.7,
             "mscale_all_dim": 1.3, "original_max_position_embeddings": 177}}
            """#
        ),
        (
            "qwen",
            #"""
            {"rope_scaling": {"rope_type": "yarn", "factor": 4,
             "original_max_position_embeddings": 64}}
            """#
        ),
    ])
    func `a configuration that is written is the one that was read`(
        family: String, changes: String
    ) throws {
        let shape = try parse(family, changes)
        #expect(try ModelConfiguration.parse(shape.encoded(), file: "again") == shape)
    }

    @Test func `the widths of a head and the blocks with experts are those of the keys`() throws {
        let qwen = try parse("qwen", #"{"decoder_sparse_step": 2, "mlp_only_layers": [1]}"#)
        #expect((0 ..< 3).allSatisfy { !qwen.hasExperts(layer: $0) })
        #expect(qwen.ropeHeadSize == 32 && qwen.nopeHeadSize == 0 && qwen.queryKeyNorm == .head)
        let glm = try parse("glm", #"{"partial_rotary_factor": null}"#)
        #expect(glm.ropeHeadSize == 16 && glm.nopeHeadSize == 16 && glm.mtpLayerCount == 1)
        #expect((0 ..< 3).map { glm.hasExperts(layer: $0) } == [false, true, true])
        let minimax = try parse("minimax", #"{"rotary_dim": null}"#)
        #expect(minimax.ropeHeadSize == 32 && minimax.queryKeyNorm == .allHeads)
        #expect(minimax.expertIntermediateSize == 64 && minimax.routedExpertCount == 8)
    }

    @Test func `a head of MiniMax has 128 values unless its file says otherwise`() throws {
        let minimax = try parse("minimax", #"{"head_dim": null, "rotary_dim": null}"#)
        #expect(minimax.valueHeadSize == 128 && minimax.ropeHeadSize == 128)
        #expect(try parse("glm", #"{"head_dim": null}"#).valueHeadSize == 96 / 6)
    }

    private static func yarn(_ factor: String, _ positions: Int, _ others: String = "") -> String {
        #"{"rope_scaling": {"rope_type": "yarn", "factor": \#(factor)\#(others), "#
            + #""original_max_position_embeddings": \#(positions)}}"#
    }

    @Test(
        arguments: [
            ("", 1, 0), (#", "mscale": 0.7"#, 1, 0), (#", "mscale_all_dim": 1.3"#, 1, 0),
            (#", "mscale": 0, "mscale_all_dim": 1.3"#, 1, 0),
            (#", "mscale": 0.7, "mscale_all_dim": null"#, 1, 0),
            (#", "mscale": 0.7, "mscale_all_dim": 1.3"#, 0.7, 1.3),
        ] as [(String, Double, Double)])
    func `the scales of a stretch count together, and for the rotation alone`(
        others: String, above: Double, below: Double
    ) throws {
        let stretch = 0.1 * log(4.0)
        let magnitude = (above * stretch + 1) / (below * stretch + 1)
        for family in GroupedNetworkTests.shapes.keys.sorted() {
            let shape = try parse(family, Self.yarn("4", 64, others))
            let yarn = try #require(shape.yarn)
            #expect(abs(yarn.rotationMagnitude - magnitude) < 1e-12, "\(family)")
            #expect(shape.attentionScale == Float(1 / Double(32).squareRoot()), "\(family)")
        }
    }

    @Test(arguments: [
        ("4", 32, 256), ("4", 100, 400), ("2.5", 201, 502), ("1e6", 16_777_216, 16_777_216),
    ])
    func `a stretch lengthens the texts where it reaches further`(
        factor: String, positions: Int, limit: Int
    ) throws {
        let shape = try parse("qwen", Self.yarn(factor, positions))
        #expect(shape.contextLimit == limit && shape.positionLimit == limit)
    }

    @Test(arguments: [
        ("1e300", 64, 256, "rope_scaling.factor: "), ("-4", -64, 256, "rope_scaling.factor: "),
        ("4", Int.max, 256, "rope_scaling.original_max_position_embeddings: "),
        ("4", 64, -5, "max_position_embeddings: -5 is outside"),
        ("4", 64, Int.max, "max_position_embeddings: 9223372036854775807 is outside"),
    ])
    func `a stretch outside the limits is refused by its key`(
        factor: String, positions: Int, limit: Int, fact: String
    ) throws {
        let rope = String(Self.yarn(factor, positions).dropLast())
        let changes = rope + ", \"max_position_embeddings\": \(limit)}"
        let error = #expect(throws: ModelError.self) { _ = try parse("qwen", changes) }
        let line = "\(try #require(error))"
        #expect(line.hasPrefix("c: " + fact), "\(line)")
    }

    @Test(arguments: EntryFormat.allCases)
    func `a cache entry is a key and a value of each key-value head`(format: EntryFormat) throws {
        let shape = try parse("glm", "{}")
        let width = 2 * 3 * 32
        let bytes = [
            EntryFormat.float32: 4 * width, .bfloat16: 2 * width, .float8e4m3: width + 3 * 4,
        ]
        #expect(shape.entryBytes(format: format) == bytes[format])
    }

    /// Billions, as their makers round them; some count the block of multi-token prediction.
    @Test(arguments: [
        ("Qwen3-30B-A3B", 30.5), ("GLM-4.5", 355), ("MiniMax-M2", 230), ("gpt-oss-20b", 20.9),
        ("gpt-oss-120b", 116.8),
    ])
    func `published models have the sizes that their makers announce`(
        name: String, total: Double
    ) throws {
        let root = try JSONValue.parse(Array(Data(contentsOf: ConfigurationKeysTests.published)))
        let text = Data(try #require(root[name]).encoded().utf8)
        let shape = try ModelConfiguration.parse(text, file: name)
        #expect(abs(Double(shape.parameterCounts.total) / 1e9 / total - 1) < 0.01)
        let main = NetworkTensors(shape).all.filter {
            !$0.name.hasPrefix("model.layers.\(shape.layerCount).")
        }
        #expect(shape.parameterCounts.total == main.reduce(0) { $0 + $1.elementCount })
    }

    @Test func `gpt-oss sees a window of 128 in every other block, from the first on`() throws {
        let root = try JSONValue.parse(Array(Data(contentsOf: ConfigurationKeysTests.published)))
        for (name, layers) in [("gpt-oss-20b", 24), ("gpt-oss-120b", 36)] {
            let text = Data(try #require(root[name]).encoded().utf8)
            let shape = try ModelConfiguration.parse(text, file: name)
            let windows = (0 ..< layers).map { shape.windowSize(layer: $0) }
            let wanted: [Int?] = (0 ..< layers).map { $0.isMultiple(of: 2) ? 128 : nil }
            #expect(windows == wanted)
            #expect(shape.windowSize(layer: layers) == nil)
            #expect(shape.expertActivation == ClampedSwiGLU(alpha: 1.702, limit: 7))
            #expect(shape.yarn?.truncates == false && shape.hasAttentionBias)
        }
    }

    @Test func `scales per row of compressed-tensors are refused by their name`() throws {
        let error = #expect(throws: ModelError.self) {
            try parse(
                "glm",
                #"""
                {"quantization_config": {"quant_method": "compressed-tensors",
                 "format": "float-quantized", "config_groups": {"group_0": {"targets": ["Linear"],
                 "weights": {"num_bits": 8, "type": "float", "strategy": "channel",
                 "symmetric": true, "dynamic": false}}}}}
                """#)
        }
        let line = "\(try #require(error))"
        #expect(line.contains("float-quantized 8-bit float channel is not taken"), "\(line)")
    }
}
