import Checkpoints
import Collectives
import Foundation
import Synchronization
import Tensors
import TestSupport
import Testing
import Topology

@testable import Models

/// Models in 4 bits: made, converted, and run by several ranks.
@Suite final class FourBitModelTests {
    private static let text = ConvertTests.small
        .replacing("\"moe_intermediate_size\": 72", with: "\"moe_intermediate_size\": 96")
        .replacing("\"intermediate_size\": 200", with: "\"intermediate_size\": 192")
        .replacing("\"q_lora_rank\": 48", with: "\"q_lora_rank\": 64")

    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
    let pool = ThreadPool(threads: 2)

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(Self.text.utf8).write(to: folder.appending(path: "config.json"))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func path(_ name: String) -> String { folder.appending(path: name).path }

    private func make(_ name: String, _ format: RandomCheckpoint.Format) throws {
        try RandomCheckpoint(configurationFile: path("config.json"), seed: 3, format: format)
            .write(to: path(name), pool: pool)
    }

    private func convert(
        _ source: String, _ target: String, to format: FormatConversion.Target,
        only: [String] = []
    ) throws -> [RoundingError] {
        let errors = Mutex<[RoundingError]>([])
        try FormatConversion(to: format, only: only).run(
            source: path(source), target: path(target), pool: pool,
            report: { error in errors.withLock { $0.append(error) } })
        return errors.withLock { $0 }
    }

    private func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: folder.appending(path: name))
    }

    @Test(arguments: [FormatConversion.Target.int4, .mxfp4])
    func `a model made in 4 bits is the bf16 one converted, and is checked`(
        target: FormatConversion.Target
    ) throws {
        try make("bf16", .bfloat16)
        try make("made", target == .int4 ? .int4 : .mxfp4)
        let errors = try convert("bf16", "converted", to: target)
        for file in ["model.safetensors", "config.json"] {
            #expect(try bytes("made/\(file)") == bytes("converted/\(file)"))
        }
        // A layer of experts and the MTP block, 4 experts of 3 matrices.
        #expect(errors.count == 24)
        // Of a bell curve's 32 values the largest is about 2.1 deviations: a step of 0.28 of
        // int4 has a uniform error of 0.08, and codes of mxfp4 lie up to twice as far apart.
        #expect(errors.allSatisfy { (0.06 ..< 0.15).contains($0.relative) }, "\(errors)")
        let folder = try ModelFolder(directory: path("made"))
        try folder.check()
        #expect(folder.notes.isEmpty)
        // What config.json says of sizes is what the shards have.
        let measured = try ModelSummary(
            directory: path("made"), configuration: folder.configuration)
        try FileManager.default.createDirectory(
            atPath: path("alone"), withIntermediateDirectories: true)
        let computed = try ModelSummary(
            directory: path("alone"), configuration: folder.configuration)
        #expect(measured.isMeasured && !computed.isMeasured)
        #expect(measured.bytesByType == computed.bytesByType)
        #expect(measured.expertBytes == computed.expertBytes)
    }

    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil),
        arguments: [FormatConversion.Target.int4, .mxfp4])
    func `codes, scales and errors are numpy's`(target: FormatConversion.Target) throws {
        try make("bf16", .bfloat16)
        let errors = try convert("bf16", "ours", to: target)
        let lines = errors.map { "\($0.relative) \($0.name)\n" }.joined()
        try Data(lines.utf8).write(to: folder.appending(path: "errors"))
        let output = try python(
            "four_bits_reference.py",
            [target.rawValue, path("bf16"), path("ours"), path("errors")])
        #expect(output.contains("24 matrices are equal"), "\(output)")
    }

    @Test func `any format becomes any other, and the same numbers come back`() throws {
        try make("int4", .int4)
        _ = try convert("int4", "wide", to: .bfloat16)
        // bf16 rounds number times scale; the largest code of a group and its scale come back.
        _ = try convert("wide", "again", to: .int4)
        #expect(try bytes("wide/config.json") != bytes("int4/config.json"))
        #expect(try bytes("again/config.json") == bytes("int4/config.json"))
        try make("fp8", .float8)
        let errors = try convert("fp8", "mixed", to: .mxfp4, only: ["re:.*mlp.*", "lm_head"])
        let checkpoint = try ModelFolder(directory: path("mixed")).checkpoint
        try ModelFolder(directory: path("mixed")).check()
        #expect(errors.contains { $0.name == "lm_head.weight" })
        for layer in 1 ... 2 {
            let gate = checkpoint.tensors["model.layers.\(layer).mlp.gate.weight"]
            #expect(gate?.entry.type == .bfloat16, "routers stay")
        }
        let types = Set(checkpoint.tensors.values.map(\.entry.type))
        #expect(types == [.bfloat16, .float32, .uint8], "nothing stays FP8 beside 4 bits")
        _ = try convert("mixed", "fp8-again", to: .float8)
        try ModelFolder(directory: path("fp8-again")).check()
        #expect(throws: CheckpointError.self) {
            try self.convert("mixed", "no", to: .mxfp4, only: ["re:.*mlp.*", "lm_head"])
        }
        #expect(throws: ModelError.self) {
            try self.convert("mixed", "no", to: .bfloat16, only: ["lm_head"])
        }
    }

    @Test func `experts of two formats in one layer are refused`() throws {
        try make("bf16", .bfloat16)
        let refusal = #expect(throws: CheckpointError.self) {
            try convert("bf16", "no", to: .int4, only: [#"re:.*mlp\.experts\.[0-2]\..*"#])
        }
        #expect("\(refusal!)".contains("experts.3.down_proj.weight: would stay plain and model."))
        // A folder of another program.
        try make("int4", .int4)
        let text = try String(
            contentsOf: folder.appending(path: "int4/config.json"), encoding: .utf8)
        let excepted = text.replacing(
            "\"ignore\": [", with: #""ignore": ["re:.*mlp\\.experts\\.3\\..*", "#)
        try Data(excepted.utf8).write(to: folder.appending(path: "config.json"))
        try make("mixed", .int4)
        let error = #expect(throws: CheckpointError.self) {
            try ModelFolder(directory: path("mixed"))
        }
        #expect(
            "\(error!)".contains("experts.3.gate_proj.weight: is bfloat16 and model.layers.1."),
            "\(error!)")
    }

    @Test func `a name that names nothing to convert is refused, and what is left is noted`() throws
    {
        try make("bf16", .bfloat16)
        for (name, fact) in [
            ("lm_haed", "lm_haed names no matrix that can become int4"),
            ("re:.*gate$", "mlp.gate.weight cannot"), ("re:.*eh_proj", "eh_proj.weight cannot"),
        ] {
            let error = #expect(throws: ModelError.self) {
                try convert("bf16", "no", to: .int4, only: ["lm_head", name])
            }
            #expect("\(error!)".contains(fact), "\(error!)")
        }
        var notes: [String] = []
        try FormatConversion(to: .int4, only: ["re:.*mlp.*"]).run(
            source: path("bf16"), target: path("noted"), pool: pool, note: { notes.append($0) })
        #expect(notes.count == 1)
        #expect(
            notes.first?.hasPrefix(
                "2 named matrices are left out, model.layers.1.mlp.gate.weight for one") == true,
            "\(notes)")
    }

    @Test func `a tensor that has a part's name is refused, and one without rows is copied`() throws
    {
        let matrix = "model.layers.0.mlp.experts.0.up_proj.weight"
        let empty = "model.layers.1.mlp.experts.0.up_proj.weight"
        func write(_ name: String, _ tensors: [OutputTensor]) throws {
            try FileManager.default.createDirectory(
                atPath: path(name), withIntermediateDirectories: true)
            try Data(Self.text.utf8).write(to: folder.appending(path: "\(name)/config.json"))
            let writer = try SafetensorsWriter(
                path: path(name) + "/model.safetensors", tensors: tensors)
            for tensor in tensors where tensor.elementCount > 0 {
                try writer.write(
                    [UInt16](repeating: 0x3f80, count: tensor.elementCount), to: tensor.name)
            }
            try writer.finish()
        }
        func plain(_ name: String, _ shape: [Int]) -> OutputTensor {
            OutputTensor(name: name, type: .bfloat16, shape: shape)
        }
        let pair = [plain(matrix, [2, 32]), plain(empty, [0, 64])]
        try write("plain", pair)
        #expect(try convert("plain", "int4", to: .int4).map(\.name) == [matrix])
        let made = try Checkpoint(directory: path("int4"))
        #expect(made.tensors[empty]?.entry.shape == [0, 64])
        try write("stray", pair + [plain(matrix + "_scale", [2, 1])])
        let error = #expect(throws: CheckpointError.self) {
            try convert("stray", "no", to: .int4)
        }
        #expect("\(error!)".contains("up_proj.weight_scale: would be written twice"), "\(error!)")
        try write("packed", pair + [plain("other_packed", [2, 4]), plain("other_scale", [2, 1])])
        _ = try convert("packed", "kept", to: .int4)
        let kept = try Checkpoint(directory: path("kept"))
        #expect(kept.tensors["other_packed"] != nil && kept.tensors["other_scale"] != nil)
    }

    @Test func `a number without a code is named by its row and file`() throws {
        let values = Tensor(rows: 2, columns: 32)
        values[1, 3] = .nan
        let error = #expect(throws: CheckpointError.self) {
            try EncodedMatrix(
                values, of: "w.weight", shape: [40_000, 32], from: 32_768, as: .int4,
                file: "shard.safetensors")
        }
        #expect("\(error!)".hasPrefix("shard.safetensors: tensor w.weight: value [32769, 3]"))
    }

    @Test func `config.json and shards that disagree are refused`() throws {
        try make("int4", .int4)
        let file = folder.appending(path: "int4/config.json")
        let text = try String(contentsOf: file, encoding: .utf8)
        func fault(_ text: String) throws -> String {
            try Data(text.utf8).write(to: file)
            let error = #expect(throws: CheckpointError.self) {
                try ModelFolder(directory: path("int4"))
            }
            // A conversion does not take either's word.
            let refusal = #expect(throws: CheckpointError.self) {
                try convert("int4", "no", to: .bfloat16)
            }
            #expect(error == refusal)
            #expect(!FileManager.default.fileExists(atPath: path("no")))
            return "\(error!)"
        }
        let excepted = text.replacing(
            "\"ignore\": [", with: "\"ignore\": [\"re:.*experts.1.up_proj\", ")
        #expect(try fault(excepted).contains("up_proj.weight_packed: is in 4 bits; config.json"))
        #expect(try fault(Self.text).contains("(quantization_config) does not say that"))
        let other = text.replacing("pack-quantized", with: "mxfp4-pack-quantized")
            .replacing("\"int\"", with: "\"float\"")
        #expect(try fault(other).contains("dtype I32 is not that of mxfp4"))
    }

    @Test func `a conversion names the codes that make a matrix another than its stored shape`()
        throws
    {
        try make("int4", .int4)
        let matrix = "model.layers.1.mlp.experts.0.up_proj.weight"
        let place = try Checkpoint(directory: path("int4")).locate(matrix + "_shape")
        let file = folder.appending(path: "int4/model.safetensors")
        var contents = try Data(contentsOf: file)
        contents[place.entry.bytes.lowerBound] = 95
        try contents.write(to: file)
        let error = #expect(throws: CheckpointError.self) {
            try convert("int4", "no", to: .bfloat16)
        }
        let fact = "_shape: is [95, 160]; \(matrix)_packed makes it [96, 160]"
        #expect("\(error!)".contains(matrix + fact), "\(error!)")
    }

    @Test(arguments: [1, 2, 3, 4], Compute.allCases)
    func `any number of ranks gives the bits of one`(ranks: Int, compute: Compute) throws {
        try make("int4", .int4)
        let golden = try Golden(directory: path("int4"))
        let tokens = (0 ..< 23).map { ($0 * 37 + 5) % 300 }
        func run(_ model: Model) throws -> [Float] {
            let cache = golden.cache()
            return try model.forward(
                [
                    SequenceChunk(
                        tokens: tokens, position: 0, blocks: cache.blocks(tokens: tokens.count),
                        wanted: .all)
                ], cache: cache
            ).logits.values
        }
        let expected = try run(golden.model(compute: compute, threads: 1))
        let results = try onRanks(ranks) { fabric in
            let configuration = golden.configuration
            let map = try configuration.expertMap(rankCount: ranks)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: configuration.expertParallel(
                    maximumTokensPerRank: 128, compute: compute), map: map)
            let model = try Model(
                golden.checkpoint, configuration: configuration,
                options: ModelOptions(compute: compute), pool: ThreadPool(threads: 1),
                shared: SharedExperts(group, map))
            let cache = golden.cache()
            return try model.forward(
                [
                    SequenceChunk(
                        tokens: tokens, position: 0, blocks: cache.blocks(tokens: tokens.count),
                        wanted: .all)
                ], cache: cache
            ).logits.values
        }
        for result in results { #expect(result == expected) }
    }
}
