import Foundation
import Models
import Tensors
import TestSupport
import Testing

@testable import Benchmarks

@Suite struct ModelBenchmarkTests {
    /// `bench model` on a network of a few thousand parameters.
    @Test func `times are parts of a whole, and both counts of operations agree`() throws {
        let golden = try Golden("T-bf16")
        let model = try golden.model(compute: .bfloat16, threads: 2)
        var plan = ModelBenchmark.Plan()
        plan.prefill = [24]
        plan.decodeTokens = 3
        plan.batches = [1, 4]
        plan.repetitions = 2
        let report = try ModelBenchmark(model, pool: model.pool, plan: plan).run()
        #expect(report.prefill.map(\.tokens) == [24] && report.decode.map(\.batch) == [1, 4])
        for figure in report.prefill + report.decode {
            #expect(figure.tokensPerSecond > 0)
            let inside = figure.inside
            #expect(inside.products > 0 && inside.attention > 0)
            #expect(inside.products + inside.attention < 1)
            // Rate within its time, times that time, is the rate of the whole: the kernels count
            // their products, the model its weights.
            let parts =
                inside.productPeakFraction * inside.products
                + inside.attentionPeakFraction * inside.attention
            #expect(abs(parts / figure.peakFraction - 1) < 1e-9)
        }
    }

    /// Choices of 8 tokens among 1,100, beside dense attention over copies of a prompt.
    @Test func `sparse attention is measured beside dense attention`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.path + ".json"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Data(Self.sparse.utf8).write(to: URL(filePath: file))
        try RandomCheckpoint(configurationFile: file, seed: 1, format: .bfloat16)
            .write(to: folder.path, pool: ThreadPool(threads: 2))
        let model = try Golden(directory: folder.path).model(compute: .bfloat16, threads: 2)
        var plan = ModelBenchmark.Plan()
        plan.prefill = []
        plan.decodeTokens = 2
        plan.batches = [1, 3]
        plan.depth = 1100
        plan.copiesPrompt = true
        plan.comparesDense = true
        plan.repetitions = 2
        let report = try ModelBenchmark(model, pool: model.pool, plan: plan).run()
        #expect(report.decode.map(\.batch) == [1, 3] && report.dense.map(\.batch) == [1, 3])
        for (sparse, dense) in zip(report.decode, report.dense) {
            for figure in [sparse, dense] {
                let inside = figure.inside
                let parts =
                    inside.productPeakFraction * inside.products
                    + inside.attentionPeakFraction * inside.attention
                #expect(abs(parts / figure.peakFraction - 1) < 1e-9)
            }
        }
        #expect(!model.attendsDensely)
    }

    private static let sparse = """
        {"architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32",
         "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
         "num_hidden_layers": 2, "first_k_dense_replace": 2, "num_attention_heads": 4,
         "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 1,
         "n_group": 1, "topk_group": 1, "q_lora_rank": 48, "kv_lora_rank": 32,
         "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "vocab_size": 100,
         "max_position_embeddings": 2048, "index_topk": 8, "index_n_heads": 4,
         "index_head_dim": 32}
        """
}
