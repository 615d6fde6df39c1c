import Foundation
import Models

@testable import Training

extension ModelConfiguration {
    /// 8 layers, the first dense; 8 experts in 4 groups, top-2; one MTP layer.
    static let tiny: ModelConfiguration = {
        let json = """
            {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
             "hidden_size": 24, "intermediate_size": 40, "moe_intermediate_size": 12,
             "num_hidden_layers": 8, "first_k_dense_replace": 1, "moe_layer_freq": 1,
             "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 12,
             "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
             "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2,
             "n_group": 4, "topk_group": 2, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
             "norm_topk_prob": true, "routed_scaling_factor": 2.5, "vocab_size": 64,
             "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
             "num_nextn_predict_layers": 1, "tie_word_embeddings": false, "hidden_act": "silu"}
            """
        guard
            let model = try? JSONDecoder().decode(ModelConfiguration.self, from: Data(json.utf8))
        else { preconditionFailure("the tiny model does not decode") }
        return model
    }()
}
