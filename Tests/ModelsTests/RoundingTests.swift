import Tensors
import TestSupport
import Testing

@testable import Models

/// What rounding of activations and latents does to logits.
@Suite struct RoundingTests {
    private func logits(
        _ model: Model, _ tokens: [Int], _ cache: BlockCache
    ) throws -> [Float] {
        try model.forward(
            [
                SequenceChunk(
                    tokens: tokens, position: 0, blocks: cache.blocks(tokens: tokens.count),
                    wanted: .all)
            ], cache: cache
        ).logits.values
    }

    /// Root mean square of the differences.
    private func deviation(_ a: [Float], _ b: [Float]) -> Float {
        (zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Float(a.count)).squareRoot()
    }

    @Test(arguments: ["p0", "p1"])
    func `bf16 activations disturb logits no more than PyTorch's do`(prompt: String) throws {
        let golden = try Golden("T-bf16")
        let exact = try golden.expected().floats("\(prompt).logits")
        let guide = try golden.expected("expected_bf16compute").floats("\(prompt).logits")
        let tokens = try golden.expected().integers("\(prompt).input_ids")
        let ours = try logits(
            golden.model(compute: .bfloat16), tokens, golden.cache(.bfloat16))
        // The reference rounds every activation, we round inputs of matrix products only.
        #expect(deviation(ours, exact) < 1.1 * deviation(guide, exact))
        print("bf16 \(prompt): ours \(deviation(ours, exact)) guide \(deviation(guide, exact))")
    }

    @Test func `a latent cache in bf16 or fp8 costs little`() throws {
        let golden = try Golden(directory: Golden.stories)
        let expected = try ExpectedTensors(
            path: Golden.root + "/stories-fp8-expected.safetensors")
        let tokens =
            try expected.integers("p0.input_ids") + expected.integers("p0.greedy")
        let model = try golden.model()
        let exact = try logits(model, tokens, golden.cache())
        let bf16 = deviation(try logits(model, tokens, golden.cache(.bfloat16)), exact)
        let fp8 = deviation(try logits(model, tokens, golden.cache(.float8e4m3)), exact)
        // Logits of this model deviate by about 3. Rounding is 2^-9 and 2^-4 of a latent, and may
        // turn a gate that is almost tied, which costs a few percent in that row.
        #expect(bf16 > 0 && bf16 < 0.1)
        #expect(fp8 > bf16 && fp8 < 0.3)
        print("cache: bf16 \(bf16) fp8 \(fp8)")
    }
}
