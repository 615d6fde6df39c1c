import Checkpoints
import Foundation
import Language
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite struct ArchitectureTests {
    @Test(arguments: ["T-f32", "T-bf16", "Y-f32"])
    func `the table has the names and shapes of a checkpoint's tensors`(name: String) throws {
        let golden = try Golden(name)
        let stored = golden.checkpoint.tensors.mapValues(\.entry.shape)
        let table = NetworkTensors(golden.configuration).all.map { ($0.name, $0.shape) }
        #expect(Dictionary(uniqueKeysWithValues: table) == stored)
    }

    @Test func `the table says what an FP8 checkpoint stores`() throws {
        let golden = try Golden("T-fp8")
        let stored = golden.checkpoint.tensors.mapValues { [$0.entry.type.rawValue] }
        let table = NetworkTensors(golden.configuration).all
            .flatMap { $0.stored(Quantization()) }.map { ($0.name, [$0.type.rawValue]) }
        #expect(Dictionary(uniqueKeysWithValues: table) == stored)
    }

    @Test func `the trained network has the table's tensors, each once`() throws {
        let configuration = try Golden("T-f32").configuration
        let stage = TrainedStage(
            layers: 0 ..< configuration.layerCount, isFirst: true, isLast: true,
            context: TrainingContext(
                configuration: configuration, sequenceLength: 8, pool: ThreadPool(threads: 1)),
            sharing: .local)
        let table = NetworkTensors(configuration).all.filter { $0.original == nil }
        let biases = stage.routedLayers.compactMap(\.gate.biasName)
        #expect(
            (stage.parameters.map(\.name) + biases).sorted() == table.map(\.name).sorted())
    }

    @Test func `a projection is known by its name in any family`() {
        let layer = "model.layers.3."
        for name in ["self_attn.kv_b_proj.weight", "mlp.experts.7.up_proj.weight"] {
            #expect(Architectures.isProjection(layer + name), "\(name)")
        }
        for name in ["mlp.gate.weight", "eh_proj.weight", "self_attn.kv_a_layernorm.weight"] {
            #expect(!Architectures.isProjection(layer + name), "\(name)")
        }
        #expect(!Architectures.isProjection("lm_head.weight"))
    }

    @Test func `another family is refused by its name, whatever keys it has`() {
        let error = #expect(throws: ModelError.self) {
            try ModelConfiguration.parse(
                Data(#"{"architectures": ["LlamaForCausalLM"]}"#.utf8), file: "c.json")
        }
        #expect(
            error?.description == """
                c.json: architectures: ["LlamaForCausalLM"] is not run. Taken is one of \
                DeepseekV3ForCausalLM, DeepseekV2ForCausalLM, DeepseekV32ForCausalLM, \
                Glm4MoeLiteForCausalLM, GlmMoeDsaForCausalLM, KimiK25ForConditionalGeneration, \
                KimiVLForConditionalGeneration, Qwen3MoeForCausalLM, Glm4MoeForCausalLM, \
                MiniMaxM2ForCausalLM, GptOssForCausalLM
                """)
    }

    @Test(arguments: EntryFormat.allCases)
    func `a cache entry is the latent and the rotated key`(format: EntryFormat) throws {
        let configuration = try Golden("T-f32").configuration
        let width = configuration.latentSize + configuration.ropeHeadSize
        let bytes = [EntryFormat.float32: 4 * width, .bfloat16: 2 * width]
        let entry = configuration.entryBytes(format: format)
        #expect(bytes[format].map { $0 == entry } ?? (entry < 2 * width))
    }
}
