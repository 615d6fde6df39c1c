import Foundation
import Testing

@testable import Models

@Suite struct ModelConfigurationTests {
    /// A small valid configuration, with some keys replaced; nil removes one.
    private func json(_ changes: [String: Any?] = [:]) throws -> Data {
        var values: [String: Any] = [
            "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
            "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
            "num_hidden_layers": 3, "first_k_dense_replace": 1, "num_attention_heads": 4,
            "num_key_value_heads": 4, "n_routed_experts": 8, "num_experts_per_tok": 2,
            "n_shared_experts": 1, "n_group": 4, "topk_group": 2, "q_lora_rank": 24,
            "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
            "vocab_size": 100, "eos_token_id": 1,
        ]
        for (key, value) in changes { values[key] = value }
        return try JSONSerialization.data(withJSONObject: values)
    }

    private func refusal(_ changes: [String: Any?]) throws -> String {
        let data = try json(changes)
        do {
            _ = try ModelConfiguration.parse(data, file: "config.json")
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func `absent keys take DeepSeek's defaults`() throws {
        let configuration = try ModelConfiguration.parse(json(), file: "config.json")
        #expect(configuration.scoring == .sigmoid && configuration.topKMethod == .biased)
        #expect(configuration.normEpsilon == 1e-6 && configuration.ropeTheta == 10000)
        #expect(configuration.endTokens == [1] && configuration.yarn == nil)
    }

    @Test func `a missing query latent means uncompressed queries`() throws {
        let data = try json(["q_lora_rank": NSNull()])
        #expect(try ModelConfiguration.parse(data, file: "c").queryLatentSize == nil)
    }

    @Test func `Transformers 5's rope_parameters are read`() throws {
        let data = try json([
            "rope_parameters": [
                "rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                "mscale": 1.0, "mscale_all_dim": 1.0, "rope_theta": 50000,
            ] as [String: Any]
        ])
        let configuration = try ModelConfiguration.parse(data, file: "c")
        #expect(configuration.yarn?.factor == 40 && configuration.ropeTheta == 50000)
    }

    @Test func `V2-Lite's gate is softmax without groups`() throws {
        let data = try json([
            "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
            "scoring_func": "softmax", "topk_method": "greedy", "norm_topk_prob": false,
            "n_group": 1, "topk_group": 1,
        ])
        let configuration = try ModelConfiguration.parse(data, file: "c")
        #expect(configuration.scoring == .softmax && configuration.topKMethod == .greedy)
        #expect(!configuration.normalizesWeights)
    }

    @Test func `DeepSeek-V3 has 671 billion parameters and Kimi K2's shape is accepted`() throws {
        let big: [String: Any?] = [
            "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
            "num_hidden_layers": 61, "first_k_dense_replace": 3, "num_attention_heads": 128,
            "num_key_value_heads": 128, "n_routed_experts": 256, "num_experts_per_tok": 8,
            "n_group": 8, "topk_group": 4, "q_lora_rank": 1536, "kv_lora_rank": 512,
            "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
            "vocab_size": 129280,
        ]
        let deepSeek = try ModelConfiguration.parse(json(big), file: "c")
        let counts = deepSeek.parameterCounts
        // Insights into DeepSeek-V3, Table 2: 250 GFLOPS per token.
        let operations = deepSeek.trainingOperationsPerToken(sequenceLength: 4096, withMTP: false)
        #expect(abs(operations - 250.45e9) < 0.01e9)
        #expect(counts.total == 671_026_419_200)
        #expect(abs(Double(counts.activated) - 37.55e9) < 0.01e9)
        let kimi: [String: Any?] = [
            "n_routed_experts": 384, "n_group": 1, "topk_group": 1, "num_attention_heads": 64,
            "num_key_value_heads": 64, "model_type": "kimi_k2", "first_k_dense_replace": 1,
            "vocab_size": 163840, "rope_theta": 50000.0,
        ]
        let merged = big.merging(kimi) { $1 }
        let total = try ModelConfiguration.parse(json(merged), file: "c").parameterCounts.total
        #expect(abs(Double(total) - 1.026e12) < 0.01e12)
    }

    @Test func `what is written is read back`() throws {
        var configuration = try ModelConfiguration.parse(json(), file: "c")
        configuration.quantization = Quantization()
        configuration.yarn = YaRN(factor: 40, originalPositionLimit: 64)
        configuration.mtpLayerCount = 1
        configuration.rotatesNeighbours = false
        configuration.sparseIndexCount = 64
        configuration.yarn?.attentionFactor = 0.9
        configuration.yarn?.truncates = false
        configuration.expertLayers = [true, false, true]
        configuration.denseLayerCount = 0
        let again = try ModelConfiguration.parse(configuration.encoded(), file: "c")
        #expect(again == configuration)
    }

    @Test(arguments: [
        ("n_routed_experts", 0, "outside 1..."),
        ("num_experts_per_tok", 9, "9 is outside 1...8 (n_routed_experts)"),
        ("num_hidden_layers", 1_000_000_000_000, "outside 1...1024"),
        ("hidden_size", -64, "-64 is outside"),
        ("qk_rope_head_dim", 7, "is odd"),
        ("n_group", 3, "does not divide"),
        ("topk_group", 5, "5 is outside 1...4 (n_group)"),
        ("num_key_value_heads", 2, "MLA has one per head"),
        ("vocab_size", 0, "outside 1..."),
        ("eos_token_id", 100, "outside 0...99 (vocab_size)"),
        ("rope_theta", 0, "outside"),
        ("first_k_dense_replace", -1, "outside 0..."),
    ])
    func `an absurd value is refused with its key and limit`(
        key: String, value: Int, fact: String
    ) throws {
        let line = try refusal([key: value])
        #expect(line.hasPrefix("config.json: \(key)") && line.contains(fact), "\(line)")
        #expect(!line.contains("\n"))
    }

    @Test func `wrong types, unknown names and foreign architectures are refused`() throws {
        #expect(try refusal(["hidden_size": "big"]).contains("hidden_size"))
        #expect(try refusal(["hidden_size": NSNull()]).contains("hidden_size"))
        #expect(try refusal(["scoring_func": "tanh"]).contains("neither sigmoid nor softmax"))
        #expect(
            try refusal(["hidden_act": "gelu"]).contains("\"gelu\" is not run; taken is \"silu\""))
        #expect(try refusal(["architectures": ["LlamaForCausalLM"]]).contains("architectures"))
        #expect(try refusal(["index_topk": 0]).contains("index_topk: 0 is outside 1..."))
        #expect(try refusal(["rope_scaling": ["type": "linear"]]).contains("linear"))
        #expect(try refusal(["quantization_config": ["quant_method": "awq"]]).contains("awq"))
        #expect(throws: ModelError.self) { try ModelConfiguration.parse(Data(), file: "c") }
        let deep = Data(String(repeating: "[", count: 100_000).utf8)
        #expect(throws: ModelError.self) { try ModelConfiguration.parse(deep, file: "c") }
    }

    @Test(arguments: [
        ("num_attention_heads", "2.5", "num_attention_heads: 2.5 is not a whole number"),
        ("num_hidden_layers", "1e30", "num_hidden_layers: 1e30 is not a whole number of 64 bits"),
        ("hidden_size", "99999999999999999999", "is not a whole number of 64 bits"),
        ("eos_token_id", "[1, 0.5]", "eos_token_id: 0.5 is not a whole number of 64 bits"),
        ("rms_norm_eps", "1e400", "rms_norm_eps: 1e400 is beyond a number of 64 bits"),
        (
            "rope_scaling",
            #"{"type": "yarn", "factor": 4, "original_max_position_embeddings": 7.5}"#,
            "rope_scaling.original_max_position_embeddings: 7.5 is not a whole number"
        ),
        ("rms_norm_eps", #""x""#, #"rms_norm_eps: "x" is not of the expected type Float"#),
        ("hidden_size", "true", "hidden_size: true is not of the expected type"),
        ("unknown", "NaN", "config.json: the text: not JSON at byte"),
    ])
    func `a number of the wrong kind is named with its key`(
        key: String, literal: String, fact: String
    ) throws {
        var text = String(decoding: try json([key: "PLACE"]), as: UTF8.self)
        text.replace("\"PLACE\"", with: literal)
        let error = #expect(throws: ModelError.self) {
            try ModelConfiguration.parse(Data(text.utf8), file: "config.json")
        }
        let line = error?.description ?? ""
        #expect(line.hasPrefix("config.json: ") && line.contains(fact), "\(line)")
        #expect(!line.contains("\n"))
    }

    @Test func `the tokens of both files end a text`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try json(["eos_token_id": [1, 7]]).write(to: folder.appending(path: "config.json"))
        func endTokens(_ generation: String?) throws -> [Int] {
            let file = folder.appending(path: "generation_config.json")
            if let generation { try Data(generation.utf8).write(to: file) }
            return try ModelConfiguration.load(directory: folder.path).endTokens
        }
        #expect(try endTokens(nil) == [1, 7])
        #expect(try endTokens("{}") == [1, 7])
        #expect(try endTokens(#"{"eos_token_id": null}"#) == [1, 7])
        #expect(try endTokens(#"{"eos_token_id": 9}"#) == [1, 7, 9])
        #expect(try endTokens(#"{"eos_token_id": [7, 8, 8]}"#) == [1, 7, 8])
        for (wrong, fact) in [
            (#"{"eos_token_id": 100}"#, "eos_token_id: 100 is no token id: they go from 0 to 99"),
            (#"{"eos_token_id": [1, "x"]}"#, #"eos_token_id: "x" is no token id"#),
            ("{", "generation_config.json: not JSON"),
        ] {
            var message = ""
            do { _ = try endTokens(wrong) } catch { message = "\(error)" }
            #expect(message.contains(fact) && message.contains("generation_config.json"))
        }
    }

    @Test func `a whole number may be written with a point`() throws {
        var text = String(decoding: try json(["hidden_size": "PLACE"]), as: UTF8.self)
        text.replace("\"PLACE\"", with: "64.0")
        #expect(try ModelConfiguration.parse(Data(text.utf8), file: "c").hiddenSize == 64)
    }

    @Test func `sizes that are each allowed and together cannot be counted are refused`() throws {
        let wide = try refusal([
            "hidden_size": 1 << 20, "moe_intermediate_size": 1 << 20, "n_routed_experts": 1024,
            "num_hidden_layers": 1000,
        ])
        #expect(wide.contains("hidden_size: 1048576 and the other sizes make more than"))
        let many = try refusal(["n_routed_experts": 65536, "num_hidden_layers": 1024])
        #expect(many.contains("n_routed_experts: 65536 in 1024 layers are 67108864 experts"))
    }
}
