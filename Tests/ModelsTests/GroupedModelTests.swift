import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

/// Random networks with grouped queries against Hugging Face Transformers.
@Suite struct GroupedModelTests {
    /// `APUS_PYTHON` names a Python with PyTorch and Transformers; `APUS_SEED` chooses the shapes.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil))
    func `grouped queries compute what Transformers computes`() throws {
        let seed = try referenceSeed()
        let root = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        defer { try? FileManager.default.removeItem(at: root) }
        _ = try python("grouped_models.py", [root.path, "\(seed)"])
        let cases = try FileManager.default.contentsOfDirectory(atPath: root.path).sorted()
        // Twenty-eight kinds of network, two of each.
        #expect(cases.count == 56, "APUS_SEED=\(seed)")
        for name in cases {
            let (path, name) = (root.appending(path: name).path, "\(name), APUS_SEED=\(seed)")
            let folder = try ModelFolder(directory: path)
            try folder.check()
            #expect(folder.notes.isEmpty, "\(name): \(folder.notes)")
            try compare(
                folder, ExpectedTensors(path: path + "/expected.safetensors"), name)
        }
    }

    private func compare(
        _ folder: ModelFolder, _ expected: ExpectedTensors, _ name: String
    ) throws {
        let model = try Model(
            folder.checkpoint, configuration: folder.configuration,
            options: ModelOptions(compute: .float32), pool: ThreadPool(threads: 2))
        let cache = BlockCache(
            configuration: folder.configuration, format: .float32, blockCount: 48, blockTokens: 16)
        func logits(_ tokens: [Int], pieces: Int) throws -> [Float] {
            var logits: [Float] = []
            for start in stride(from: 0, to: tokens.count, by: pieces) {
                let piece = Array(tokens[start ..< min(start + pieces, tokens.count)])
                logits += try model.forward(
                    [
                        SequenceChunk(
                            tokens: piece, position: start,
                            blocks: cache.blocks(tokens: tokens.count), wanted: .all)
                    ], cache: cache
                ).logits.values
            }
            return logits
        }
        let tokens = try expected.integers("input_ids")
        let whole = try logits(tokens, pieces: tokens.count)
        try close(whole, "logits", expected, name)
        #expect(try logits(tokens, pieces: 7) == whole, "\(name)")
        var text = [1, 2, 3]
        while text.count < 11 {
            let row = try logits(text, pieces: text.count).suffix(
                folder.configuration.vocabularySize)
            text.append(argmax(row))
        }
        #expect(try Array(text[3...]) == expected.integers("greedy"), "\(name)")
        if expected.has("drafts") { try compareDrafts(model, cache, tokens, expected, name) }
    }

    private func compareDrafts(
        _ model: Model, _ cache: BlockCache, _ tokens: [Int], _ expected: ExpectedTensors,
        _ name: String
    ) throws {
        let blocks = cache.blocks(tokens: tokens.count)
        let kept = Array(tokens.dropLast())
        let main = try model.forward(
            [SequenceChunk(tokens: kept, position: 0, blocks: blocks)], cache: cache,
            keepsHidden: true)
        let drafts = try model.draft(
            [
                SequenceChunk(
                    tokens: Array(tokens.dropFirst()), position: 0, blocks: blocks, wanted: .all)
            ], hidden: #require(main.hidden), cache: cache)
        try close(drafts.logits.values, "drafts", expected, name)
    }

    /// The script keeps only texts that disturbances of 1e-6 move by less than 4e-5; fp32 sums in
    /// another order were seen to move a logit up to 1.8 times as far.
    private func close(
        _ values: [Float], _ kind: String, _ expected: ExpectedTensors, _ name: String
    ) throws {
        let difference = largestDifference(values, try expected.floats(kind))
        #expect(difference < 1e-4, "\(name), \(kind)")
        print("grouped \(name), \(kind): \(difference)")
    }
}
