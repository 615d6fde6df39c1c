import Checkpoints
import Encoding
import Foundation
import Tensors
import Testing

@testable import Models

/// Folders that differ from what is run.
@Suite final class ModelFolderTests {
    private let root = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
    private let pool = ThreadPool(threads: 2)

    init() throws {
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
        let file = root.appending(path: "config.json")
        try Data(ConvertTests.small.utf8).write(to: file)
        try RandomCheckpoint(configurationFile: file.path, seed: 1, format: .float8)
            .write(to: path("whole"), pool: pool)
    }

    deinit { try? FileManager.default.removeItem(at: root) }

    private func path(_ name: String) -> String { root.appending(path: name).path }

    /// A copy of the whole folder whose tensors have other names, nil for none; all tensors keep
    /// their bytes.
    private func copy(
        _ name: String, adding extra: [OutputTensor] = [], _ rename: (String) -> String?
    ) throws -> String {
        let source = try Checkpoint(directory: path("whole"))
        let kept = source.tensors.values.compactMap { place in
            rename(place.entry.name).map { (place: place, name: $0) }
        }
        try FileManager.default.createDirectory(
            atPath: path(name), withIntermediateDirectories: true)
        let writer = try SafetensorsWriter(
            path: path(name) + "/model.safetensors",
            tensors: kept.map {
                OutputTensor(name: $0.name, type: $0.place.entry.type, shape: $0.place.entry.shape)
            } + extra)
        for (place, name) in kept {
            let bytes = try source.readBytes(of: place)
            try writer.write(bytes.span.raw, to: name)
        }
        for tensor in extra {
            let zeros = [UInt8](repeating: 0, count: tensor.byteCount)
            try writer.write(zeros.span.raw, to: tensor.name)
        }
        try writer.finish()
        try FileManager.default.copyItem(
            atPath: path("whole") + "/config.json", toPath: path(name) + "/config.json")
        return path(name)
    }

    private func notes(_ directory: String) throws -> [String] {
        let folder = try ModelFolder(directory: directory)
        try folder.check()
        return folder.notes
    }

    private func fault(_ directory: String) throws -> String {
        do {
            try ModelFolder(directory: directory).check()
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func `a whole folder passes every check and needs no word`() throws {
        #expect(try notes(path("whole")) == [])
    }

    @Test func `blocks of MTP that are announced and absent are said, and not needed`() throws {
        let folder = try copy("plain") { $0.hasPrefix("model.layers.2.") ? nil : $0 }
        #expect(
            try notes(folder) == [
                "config.json announces 1 MTP block (num_nextn_predict_layers); the folder holds no "
                    + "tensor model.layers.2.*: nothing is drafted"
            ])
        let opened = try ModelFolder(directory: folder)
        let model = try Model(
            opened.checkpoint, configuration: opened.configuration, pool: pool)
        #expect(!model.canDraft)
        // A block of which a part is there is a broken one.
        let cut = try copy("cut") { $0 == "model.layers.2.enorm.weight" ? nil : $0 }
        #expect(try fault(cut).contains("tensor model.layers.2.enorm.weight: is missing"))
    }

    @Test func `tensors that nothing asks for are named, biases first, then counted`() throws {
        let extra = ["a", "b", "c", "d"].map {
            OutputTensor(name: $0, type: .float32, shape: [1])
        }
        let bias = OutputTensor(
            name: "model.layers.0.self_attn.o_proj.bias", type: .float32, shape: [160])
        let folder = try copy("more", adding: extra + [bias]) { $0 }
        #expect(
            try notes(folder) == [
                "5 tensors not used: model.layers.0.self_attn.o_proj.bias, a, b, c and 1 more"
            ])
    }

    @Test func `scales under the name of compressed-tensors give the same bits`() throws {
        let folder = try copy("renamed") { name in
            name.hasSuffix("_scale_inv") ? String(name.dropLast(4)) : name
        }
        #expect(try notes(folder) == [])
        try FormatConversion(to: .bfloat16).run(
            source: path("whole"), target: path("a"), pool: pool)
        try FormatConversion(to: .bfloat16).run(source: folder, target: path("b"), pool: pool)
        let files = try ["a", "b"].map {
            try Data(contentsOf: URL(filePath: path($0) + "/model.safetensors"))
        }
        #expect(files[0] == files[1])
    }

    @Test func `a folder that cannot be run is told which tensor or file is at fault`() throws {
        let expert = "model.layers.1.mlp.experts.2.up_proj.weight"
        let missing = try copy("missing") { $0 == expert ? nil : $0 }
        #expect(try fault(missing).contains("tensor \(expert): is missing"))
        let scales = try copy("scales") { $0 == expert + "_scale_inv" ? nil : $0 }
        #expect(try fault(scales).contains("tensor \(expert): is F8_E4M3 and has no scales"))
        let prefixed = try copy("prefixed") { "language_model." + $0 }
        #expect(
            try fault(prefixed).contains(
                "model.embed_tokens.weight: is missing; the folder has language_model.model."))
        let head = try copy("head") { $0 == "lm_head.weight" ? nil : $0 }
        #expect(try fault(head).contains("tensor lm_head.weight: is missing"))
    }

    @Test func `4 bits of what is read as plain numbers are refused, and copies are not asked`()
        throws
    {
        func packed(_ folder: String, _ matrix: String, _ shape: [Int]) throws -> String {
            let tensors = OutputTensor.fourBit(name: matrix, shape: shape, format: .int4)
            return try copy(folder, adding: tensors) { $0 == matrix ? nil : $0 }
        }
        let gate = "model.layers.1.mlp.gate.weight"
        let line = try fault(packed("gate", gate, [4, 160]))
        #expect(line.contains("\(gate)_packed: is in 4 bits; this matrix is read as"), "\(line)")
        let repeated = "model.layers.2.shared_head.head.weight"
        #expect(try notes(packed("repeated", repeated, [300, 160])) == [])
        let head = try fault(packed("head", "lm_head.weight", [300, 160]))
        #expect(head.contains("(quantization_config) does not say that, nor how"), "\(head)")
    }

    @Test func `a folder of another layout is named by what it holds`() throws {
        let folder = path("other")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        #expect(try fault(folder).contains("holds no config.json; taken is a folder in Hugging"))
        #expect(try fault(path("nowhere")).contains("is not a folder that can be read"))
        for (file, fact) in [
            ("model-Q4.gguf", "holds model-Q4.gguf, llama.cpp's form, and no config.json"),
            ("adapter_config.json", "an adapter without its base model"),
        ] {
            try Data().write(to: URL(filePath: folder + "/" + file))
            #expect(try fault(folder).contains(fact))
            try FileManager.default.removeItem(atPath: folder + "/" + file)
        }
        try Data().write(to: URL(filePath: folder + "/params.json"))
        #expect(try fault(folder).contains("holds params.json, the layout of Mistral's"))
        let quantised = try copy("nvfp4") { $0 }
        try Data(#"{"quantization": {"quant_algo": "NVFP4"}}"#.utf8).write(
            to: URL(filePath: quantised + "/hf_quant_config.json"))
        #expect(try fault(quantised).contains("quantization.quant_algo: NVFP4 is not taken"))
    }

    @Test func `keys of pictures and of the network may stand apart`() throws {
        let folder = try copy(
            "kimi", adding: [OutputTensor(name: "vision_tower.w", type: .bfloat16, shape: [1])]
        ) { "language_model." + $0 }
        let text = try JSONValue.parse(Array(ConvertTests.small.utf8))
        let config: JSONValue = [
            "architectures": ["KimiK25ForConditionalGeneration"], "text_config": text,
            "vision_config": ["hidden_size": 8], "eos_token_id": 7,
        ]
        try Data(config.encoded().utf8).write(to: URL(filePath: folder + "/config.json"))
        #expect(
            try notes(folder) == ["the vision tower (vision_tower.*, 1 tensor) is left aside"])
        #expect(try ModelFolder(directory: folder).configuration.endTokens == [7])
        // What is written back keeps its form.
        try FormatConversion(to: .bfloat16).run(
            source: folder, target: path("wide"), pool: pool)
        try FormatConversion(to: .float8).run(
            source: path("wide"), target: path("narrow"), pool: pool)
        #expect(try ModelFolder(directory: path("narrow")).configuration.quantization != nil)
    }
}
