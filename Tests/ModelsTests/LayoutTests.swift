import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

/// Small random checkpoints in published layouts against a plain PyTorch forward.
@Suite struct LayoutTests {
    /// What a person is told of a layout that has something that is not run.
    static let notes = [
        "announced-mtp": "config.json announces 1 MTP block",
        "newer-mtp-key": "config.json announces 1 MTP block",
        "kimi-k2.5": "the vision tower (vision_tower.*, 1 tensor) is left aside",
        "kimi-k2.5-int4": "the vision tower (vision_tower.*, 1 tensor) is left aside",
        "kimi-k2.6-int4": "the vision tower (vision_tower.*, 1 tensor) is left aside",
        "kimi-vl": "the vision tower (vision_tower.*, 1 tensor) is left aside",
        "relabelled-v3.2":
            "15 tensors not used: model.layers.0.self_attn.indexer.k_norm.bias, ",
    ]

    @Test(.enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil))
    func `published layouts are loaded and give the reference's logits and tokens`() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        defer { try? FileManager.default.removeItem(at: root) }
        _ = try python("layouts.py", [root.path])
        let names = try FileManager.default.contentsOfDirectory(atPath: root.path).sorted()
        #expect(names.count == 25)
        for name in names {
            let path = root.appending(path: name).path
            let folder = try ModelFolder(directory: path)
            try folder.check()
            let note = Self.notes[name]
            #expect(folder.notes.contains { note.map($0.hasPrefix) ?? false } == (note != nil))
            #expect(note != nil || folder.notes.isEmpty, "\(name): \(folder.notes)")
            try compare(folder, ExpectedTensors(path: path + "/expected.safetensors"), name)
        }
    }

    private func compare(
        _ folder: ModelFolder, _ expected: ExpectedTensors, _ name: String
    ) throws {
        let model = try Model(
            folder.checkpoint, configuration: folder.configuration,
            options: ModelOptions(compute: .float32), pool: ThreadPool(threads: 2))
        let cache = BlockCache(
            configuration: folder.configuration, format: .float32, blockCount: 4, blockTokens: 16)
        func logits(_ tokens: [Int]) throws -> [Float] {
            let chunk = SequenceChunk(
                tokens: tokens, position: 0, blocks: cache.blocks(tokens: tokens.count),
                wanted: .all)
            return try model.forward([chunk], cache: cache).logits.values
        }
        let prompt = try expected.integers("input_ids")
        let difference = largestDifference(
            try logits(prompt), try expected.floats("logits"))
        #expect(difference < 1e-4, "\(name)")
        var text = prompt
        while text.count < prompt.count + 4 {
            text.append(argmax(try logits(text).suffix(folder.configuration.vocabularySize)))
        }
        #expect(try Array(text[prompt.count...]) == expected.integers("greedy"), "\(name)")
        print("layout \(name): \(difference)")
    }
}
