import Tensors
import TestSupport
import Testing

@testable import Models

@Suite struct SpeculationTests {
    @Test func `the shipped model's logits are PyTorch's`() throws {
        let golden = try Golden(directory: Golden.stories)
        let expected = try ExpectedTensors(
            path: Golden.root + "/stories-fp8-expected.safetensors")
        let model = try golden.model()
        for prompt in 0 ..< 5 {
            let tokens = try expected.integers("p\(prompt).input_ids")
            let cache = golden.cache()
            let logits = try model.forward(
                [
                    SequenceChunk(
                        tokens: tokens, position: 0, blocks: cache.blocks(tokens: tokens.count),
                        wanted: .all)
                ], cache: cache
            ).logits
            let reference = try expected.floats("p\(prompt).logits")
            #expect(largestDifference(logits.values, reference) < 1e-4)
        }
    }

    @Test func `drafts are refused where there is no MTP block`() throws {
        let golden = try Golden("T-f32")
        let model = try Model(
            golden.checkpoint, configuration: golden.configuration,
            options: ModelOptions(loadsMTP: false), pool: ThreadPool(threads: 1))
        #expect(!model.canDraft)
        let hidden = Tensor(rows: 0, columns: golden.configuration.hiddenSize)
        #expect(throws: ModelError.self) {
            try model.draft([], hidden: hidden, cache: golden.cache())
        }
    }
}
