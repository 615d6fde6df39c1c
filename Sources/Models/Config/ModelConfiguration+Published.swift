import Foundation

extension ModelConfiguration {
    /// Published networks that are run and have a name here, by it.
    package static let publishedNames = published.map(\.name)

    /// A published network by its name; nil for a name that is none of `publishedNames`.
    package static func published(_ name: String) throws -> ModelConfiguration? {
        guard let (own, text) = published.first(where: { $0.name == name.lowercased() }) else {
            return nil
        }
        return try parse(Data(text.utf8), file: own)
    }

    /// The keys of published `config.json` files that describe the network.
    private static let published: [(name: String, text: String)] = [
        ("deepseek-v3", deepSeekV3Text), ("deepseek-v2", deepSeekV2Text), ("kimi-k2", kimiK2Text),
    ]

    /// Source: `config.json` of deepseek-ai/DeepSeek-V3.
    private static let deepSeekV3Text = """
        {
            "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
            "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
            "num_hidden_layers": 61, "first_k_dense_replace": 3, "num_attention_heads": 128,
            "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 256,
            "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4,
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
            "routed_scaling_factor": 2.5, "vocab_size": 129280,
            "max_position_embeddings": 163840, "rms_norm_eps": 1e-6, "rope_theta": 10000,
            "rope_scaling": {
                "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0
            },
            "num_nextn_predict_layers": 1, "quantization_config": \(float8Text)
        }
        """

    /// Source: `config.json` of deepseek-ai/DeepSeek-V2.
    private static let deepSeekV2Text = """
        {
            "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
            "hidden_size": 5120, "intermediate_size": 12288, "moe_intermediate_size": 1536,
            "num_hidden_layers": 60, "first_k_dense_replace": 1, "num_attention_heads": 128,
            "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 160,
            "n_shared_experts": 2, "num_experts_per_tok": 6, "n_group": 8, "topk_group": 3,
            "scoring_func": "softmax", "topk_method": "group_limited_greedy",
            "norm_topk_prob": false, "routed_scaling_factor": 16.0, "vocab_size": 102400,
            "max_position_embeddings": 163840, "rms_norm_eps": 1e-6, "rope_theta": 10000,
            "rope_scaling": {
                "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0
            }
        }
        """

    /// Source: `config.json` of moonshotai/Kimi-K2-Instruct.
    private static let kimiK2Text = """
        {
            "architectures": ["DeepseekV3ForCausalLM"], "model_type": "kimi_k2",
            "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
            "num_hidden_layers": 61, "first_k_dense_replace": 1, "num_attention_heads": 64,
            "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 384,
            "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 1, "topk_group": 1,
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
            "routed_scaling_factor": 2.827, "vocab_size": 163840,
            "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 50000.0,
            "rope_scaling": {
                "type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096,
                "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0
            },
            "num_nextn_predict_layers": 0, "quantization_config": \(float8Text)
        }
        """

    private static let float8Text = """
        {
            "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
            "weight_block_size": [128, 128]
        }
        """
}
