import Checkpoints
import Foundation
import Models
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite final class ConvertTests {
    /// DeepSeek-V3's shape in small, with ragged blocks: 80 = 64 + 16 rows of kv_a_proj.
    static let small = """
        {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
         "hidden_size": 160, "intermediate_size": 200, "moe_intermediate_size": 72,
         "num_hidden_layers": 2, "first_k_dense_replace": 1, "num_attention_heads": 2,
         "num_key_value_heads": 2, "n_routed_experts": 4, "n_shared_experts": 1,
         "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "q_lora_rank": 48,
         "kv_lora_rank": 64, "qk_rope_head_dim": 16, "qk_nope_head_dim": 24, "v_head_dim": 32,
         "vocab_size": 300, "routed_scaling_factor": 2.5, "max_position_embeddings": 256,
         "rms_norm_eps": 1e-06, "rope_theta": 10000, "num_nextn_predict_layers": 1,
         "initializer_range": 0.05, "torch_dtype": "bfloat16"}
        """

    let folder: URL
    let pool = ThreadPool(threads: 2)

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(Self.small.utf8).write(to: folder.appending(path: "config.json"))
    }

    private func path(_ name: String) -> String { folder.appending(path: name).path }

    private func make(_ name: String, _ format: RandomCheckpoint.Format, seed: UInt64 = 1) throws {
        let file = path("config.json")
        try RandomCheckpoint(configurationFile: file, seed: seed, format: format)
            .write(to: path(name), pool: pool)
    }

    private func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: folder.appending(path: name))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    @Test func `the same seed makes the same model and another seed another`() throws {
        try make("a", .bfloat16)
        try make("b", .bfloat16)
        try make("c", .bfloat16, seed: 2)
        #expect(try bytes("a/model.safetensors") == bytes("b/model.safetensors"))
        #expect(try bytes("a/model.safetensors") != bytes("c/model.safetensors"))
    }

    @Test func `a model made in FP8 is the bf16 one converted`() throws {
        try make("bf16", .bfloat16)
        try make("fp8", .float8)
        try FormatConversion(to: .float8).run(
            source: path("bf16"), target: path("converted"), pool: pool)
        for file in ["model.safetensors", "config.json"] {
            #expect(try bytes("fp8/\(file)") == bytes("converted/\(file)"))
        }
    }

    @Test func `a made model has the tensors its configuration asks for`() throws {
        try make("fp8", .float8)
        let configuration = try ModelConfiguration.load(directory: path("fp8"))
        let checkpoint = try Checkpoint(directory: path("fp8"))
        let parameters = checkpoint.tensors.values
            .filter { !$0.entry.name.hasSuffix("_scale_inv") }
            .reduce(0) { $0 + $1.entry.shape.reduce(1, *) }
        let summary = try ModelSummary(directory: path("fp8"), configuration: configuration)
        let repeated = 2 * configuration.vocabularySize * configuration.hiddenSize
        #expect(parameters == summary.totalParameters + summary.mtpParameters + repeated)
        let latent = try checkpoint.locate(
            "model.layers.0.self_attn.kv_a_proj_with_mqa.weight_scale_inv")
        #expect(latent.entry.shape == [1, 2])
    }

    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil),
        arguments: [FormatConversion.Target.bfloat16, .float8])
    func `a conversion gives the bytes PyTorch gives`(target: FormatConversion.Target) throws {
        try make("source", target == .bfloat16 ? .float8 : .bfloat16)
        try FormatConversion(to: target).run(
            source: path("source"), target: path("target"), pool: pool)
        let kind = target == .bfloat16 ? "fp8-to-bf16" : "bf16-to-fp8"
        let output = try python(
            "convert_reference.py", [kind, path("source"), path("target")])
        #expect(output.contains("1 of 1 shards are equal"))
    }

    @Test func `a failed conversion leaves nothing`() throws {
        try make("fp8", .float8)
        let file = folder.appending(path: "fp8/model.safetensors")
        var contents = try Data(contentsOf: file)
        let entry = try Checkpoint(directory: path("fp8")).locate(
            "model.layers.1.mlp.experts.3.down_proj.weight_scale_inv"
        ).entry
        contents.replaceSubrange(
            entry.bytes.lowerBound ..< entry.bytes.lowerBound + 4, with: [0, 0, 0xC0, 0x7F])
        try contents.write(to: file)
        #expect {
            try FormatConversion(to: .bfloat16).run(
                source: path("fp8"), target: path("out"), pool: pool)
        } throws: { error in
            "\(error)".contains("experts.3.down_proj.weight_scale_inv: block [0, 0] has scale nan")
        }
        #expect(!FileManager.default.fileExists(atPath: path("out")))
        #expect(!FileManager.default.fileExists(atPath: path("out.partial")))
    }

    @Test func `a source with the name of the partial folder is refused and untouched`() throws {
        try make("m.partial", .bfloat16)
        let files = ["config.json", "model.safetensors"]
        let before = try files.map { try bytes("m.partial/\($0)") }
        let error = #expect(throws: CheckpointError.self) {
            try FormatConversion(to: .float8).run(
                source: path("m.partial"), target: path("m"), pool: pool)
        }
        #expect("\(error!)".contains("m.partial: exists and is not what an earlier attempt left"))
        #expect(try files.map { try bytes("m.partial/\($0)") } == before)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: path("m.partial")).sorted()
                == files)
        #expect(!FileManager.default.fileExists(atPath: path("m")))
    }

    @Test func `a folder with something in it is not overwritten`() throws {
        try make("a", .bfloat16)
        #expect(throws: CheckpointError.self) { try make("a", .bfloat16) }
    }

    @Test func `DeepSeek-V3 has 671.03B parameters and 70,272 bytes of cache per token`() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Golden/deepseek-v3/config.json").standardized
        let directory = file.deletingLastPathComponent().path
        let configuration = try ModelConfiguration.load(directory: directory)
        let summary = try ModelSummary(directory: directory, configuration: configuration)
        #expect(summary.totalParameters == 671_026_419_200)
        #expect(summary.activatedParameters / 1_000_000 == 37_552)
        #expect(summary.cacheBytesPerToken == 70_272)
        #expect(!summary.isMeasured)
        // 58 layers of 256 experts of 3 x 7168 x 2048 bytes and their scales.
        let scales = 3 * (7168 / 128) * (2048 / 128) * 4
        #expect(summary.expertBytes == 58 * (3 * 7168 * 2048 + scales) + 3 * 7168 * 2048 + scales)
    }

    @Test func `a folder named with a slash at its end is written all the same`() throws {
        try make("slash/", .bfloat16)
        #expect(try bytes("slash/model.safetensors").count > 0)
        try FileManager.default.createDirectory(
            atPath: path("empty"), withIntermediateDirectories: true)
        try FormatConversion(to: .float8).run(
            source: path("slash"), target: path("empty") + "//", pool: pool)
        #expect(try bytes("empty/model.safetensors").count > 0)
        #expect(!FileManager.default.fileExists(atPath: path("empty.partial")))
    }

    @Test func `an FP8 tensor that is no matrix is refused by name`() throws {
        let folder = path("vector")
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try Data(Self.small.utf8).write(to: URL(filePath: folder + "/config.json"))
        let name = "model.layers.0.self_attn.q_proj.weight"
        let writer = try SafetensorsWriter(
            path: folder + "/model.safetensors",
            tensors: [
                OutputTensor(name: name, type: .float8e4m3, shape: [128]),
                OutputTensor(name: name + "_scale_inv", type: .float32, shape: [1]),
            ])
        try writer.write([UInt8](repeating: 0, count: 128).span.raw, to: name)
        try writer.write([UInt8]([0, 0, 128, 63]).span.raw, to: name + "_scale_inv")
        try writer.finish()
        let error = #expect(throws: CheckpointError.self) {
            try FormatConversion(to: .bfloat16).run(
                source: folder, target: path("out"), pool: pool)
        }
        #expect("\(error!)".contains("only matrices have block scales"))
    }
}
