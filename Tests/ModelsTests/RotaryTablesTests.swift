import Foundation
import Tensors
import Testing

@testable import Models

@Suite struct RotaryTablesTests {
    @Test func `rows computed on need have the bits of rows computed at once`() throws {
        let text = #"""
            {"architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
             "moe_intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
             "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 4,
             "topk_group": 2, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
             "v_head_dim": 16, "vocab_size": 100, "max_position_embeddings": 10000,
             "rope_scaling": {"type": "yarn", "factor": 40,
                              "original_max_position_embeddings": 256, "mscale": 1.0,
                              "mscale_all_dim": 0.7}}
            """#
        let configuration = try ModelConfiguration.parse(Data(text.utf8), file: "config.json")
        let whole = RotaryTables(configuration, positions: 10_000, filled: 10_000)
        var tables = RotaryTables(configuration, positions: 10_000)
        #expect(tables.filledCount == 0)
        for positions: [Int32] in [[], [0], [5, 3], [4095], [4096], [9_999, 1], [7]] {
            tables.cover(positions)
            #expect(tables.filledCount > Int(positions.max() ?? -1))
        }
        #expect(tables.filledCount == 10_000)
        for position in 0 ..< 10_000 {
            for pair in 0 ..< 4 {
                #expect(tables.cosines[position, pair] == whole.cosines[position, pair])
                #expect(tables.sines[position, pair] == whole.sines[position, pair])
            }
        }
        var other = RotaryTables(configuration, positions: 10_000)
        other.cover([3])
        #expect(other.filledCount == 4096)
    }
}
