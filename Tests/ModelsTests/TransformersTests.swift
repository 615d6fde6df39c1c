import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

/// Random configurations against Hugging Face Transformers, which knows nothing of us.
@Suite struct TransformersTests {
    /// `APUS_PYTHON` names a Python with PyTorch and Transformers; `APUS_SEED` chooses the shapes.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil))
    func `random shapes compute what Transformers computes`() throws {
        let seed = try referenceSeed()
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "apus-transformers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        _ = try python("transformers_models.py", [folder.path, "\(seed)"])
        let cases = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        // Fifteen kinds of network, three of each.
        #expect(cases.count == 45, "APUS_SEED=\(seed)")
        for name in cases {
            let golden = try Golden(directory: folder.appending(path: name).path)
            let expected = try golden.expected("expected")
            let model = try golden.model()
            let tokens = try expected.integers("input_ids")
            let cache = golden.cache()
            let blocks = cache.blocks(tokens: tokens.count)
            var logits: [Float] = []
            for start in stride(from: 0, to: tokens.count, by: 33) {
                let piece = Array(tokens[start ..< min(start + 33, tokens.count)])
                logits += try model.forward(
                    [SequenceChunk(tokens: piece, position: start, blocks: blocks, wanted: .all)],
                    cache: cache
                ).logits.values
            }
            let difference = largestDifference(logits, try expected.floats("logits"))
            // The script keeps only prompts that a disturbance of 1e-6 moves by less than 5e-5;
            // fp32 sums in another order disturb a few times more.
            #expect(difference < 2e-4, "\(name), APUS_SEED=\(seed)")
            print("transformers \(name) seed \(seed): \(difference)")
        }
    }
}
