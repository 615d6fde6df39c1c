import Tensors
import TestSupport
import Testing

@testable import Models

/// The network against an independent PyTorch implementation (see `Tests/Golden/README.md`,
/// which also derives the tolerances).
@Suite struct GoldenTests {
    static let folders = ["T-f32", "T-bf16", "T-fp8", "Y-f32"]
    static let prompts = ["p0", "p1", "p2"]
    static let logitTolerance: Float = 1e-4
    static let hiddenTolerance: Float = 5e-5
    static let weightTolerance: Float = 1e-5

    /// Runs a prompt in chunks and returns all logits and final hidden states.
    private func run(
        _ model: Model, _ tokens: [Int], chunk: Int, cache: BlockCache
    ) throws -> (logits: [Float], hidden: [Float], blocks: [BlockID]) {
        let blocks = cache.blocks(tokens: tokens.count + 40)
        var logits: [Float] = []
        var hidden: [Float] = []
        for start in stride(from: 0, to: tokens.count, by: chunk) {
            let piece = Array(tokens[start ..< min(start + chunk, tokens.count)])
            let result = try model.forward(
                [SequenceChunk(tokens: piece, position: start, blocks: blocks, wanted: .all)],
                cache: cache, keepsHidden: true)
            logits += result.logits.values
            hidden += result.hidden?.values ?? []
        }
        return (logits, hidden, blocks)
    }

    @Test(arguments: folders, prompts)
    func `every hidden state, gate choice and logit is the reference's`(
        folder: String, prompt: String
    ) throws {
        let golden = try Golden(folder)
        let expected = try golden.expected()
        let model = try golden.model()
        var hidden: [Int: [Float]] = [:]
        var worstWeight: Float = 0
        model.probe = { probe in
            switch probe {
            case .hidden(let layer, let stream): hidden[layer] = stream.values
            case .gate(let layer, let logits, let experts, let weights):
                let name = "\(prompt).gate.\(layer)"
                #expect(
                    (try? expected.integers(name + ".indices")) == experts.map(Int.init),
                    "\(name)")
                let reference = (try? expected.floats(name + ".weights")) ?? []
                worstWeight = max(worstWeight, largestDifference(weights, reference))
                let scores = (try? expected.floats(name + ".logits")) ?? []
                #expect(largestDifference(logits, scores) < Self.logitTolerance)
            }
        }
        let tokens = try expected.integers("\(prompt).input_ids")
        let result = try run(model, tokens, chunk: tokens.count, cache: golden.cache())
        let logits = largestDifference(result.logits, try expected.floats("\(prompt).logits"))
        var worstHidden = largestDifference(
            result.hidden, try expected.floats("\(prompt).final_norm"))
        for layer in 0 ... golden.configuration.layerCount {
            let reference = try expected.floats("\(prompt).hidden.\(layer)")
            worstHidden = max(worstHidden, largestDifference(hidden[layer - 1] ?? [], reference))
        }
        #expect(logits < Self.logitTolerance)
        #expect(worstHidden < Self.hiddenTolerance)
        #expect(worstWeight < Self.weightTolerance)
        print(
            "golden \(folder) \(prompt): logits \(logits) hidden \(worstHidden) gate \(worstWeight)"
        )
    }

    @Test(arguments: folders, prompts)
    func `chunks and single tokens give the bits of one piece`(
        folder: String, prompt: String
    ) throws {
        let golden = try Golden(folder)
        let model = try golden.model()
        let tokens = try golden.expected().integers("\(prompt).input_ids")
        let whole = try run(model, tokens, chunk: tokens.count, cache: golden.cache())
        for chunk in [1, 7] {
            let pieces = try run(model, tokens, chunk: chunk, cache: golden.cache())
            #expect(pieces.logits == whole.logits, "chunks of \(chunk)")
            #expect(pieces.hidden == whole.hidden, "chunks of \(chunk)")
        }
    }

    @Test(arguments: folders, prompts)
    func `32 greedy tokens are the reference's`(folder: String, prompt: String) throws {
        let golden = try Golden(folder)
        let expected = try golden.expected()
        let model = try golden.model()
        let cache = golden.cache()
        let tokens = try expected.integers("\(prompt).input_ids")
        let start = try run(model, tokens, chunk: 48, cache: cache)
        var next = argmax(start.logits.suffix(golden.configuration.vocabularySize))
        var greedy = [next]
        while greedy.count < 32 {
            let chunk = SequenceChunk(
                tokens: [next], position: tokens.count + greedy.count - 1, blocks: start.blocks)
            next = argmax(try model.forward([chunk], cache: cache).logits.values)
            greedy.append(next)
        }
        #expect(try greedy == expected.integers("\(prompt).greedy"))
    }

    @Test(arguments: folders, prompts)
    func `MTP logits are the reference's, from the hidden state after the norm`(
        folder: String, prompt: String
    ) throws {
        let golden = try Golden(folder)
        let expected = try golden.expected()
        let model = try golden.model()
        let cache = golden.cache()
        let tokens = try expected.integers("\(prompt).input_ids")
        let main = try run(model, tokens, chunk: tokens.count, cache: cache)
        let size = golden.configuration.hiddenSize
        let count = tokens.count - 1
        let hidden = Tensor(
            rows: count, columns: size, values: Array(main.hidden.prefix(count * size)))
        var joined: [Float] = []
        let first = golden.configuration.layerCount - 1
        model.probe = { probe in
            if case .hidden(first, let stream) = probe { joined = stream.values }
            if case .gate(let layer, _, let experts, let weights) = probe {
                let name = "\(prompt).mtp.gate.\(layer)"
                #expect((try? expected.integers(name + ".indices")) == experts.map(Int.init))
                let reference = (try? expected.floats(name + ".weights")) ?? []
                #expect(largestDifference(weights, reference) < Self.weightTolerance)
            }
        }
        let chunk = SequenceChunk(
            tokens: Array(tokens.dropFirst()), position: 0, blocks: main.blocks, wanted: .all)
        let drafted = try model.draft([chunk], hidden: hidden, cache: cache).logits.values
        let logits = largestDifference(drafted, try expected.floats("\(prompt).mtp.logits"))
        let input = largestDifference(joined, try expected.floats("\(prompt).mtp.in"))
        let wrong = largestDifference(
            drafted, try expected.floats("\(prompt).mtp_prenorm.logits"))
        #expect(input < Self.hiddenTolerance)
        #expect(logits < Self.logitTolerance)
        #expect(wrong > 100 * Self.logitTolerance)
        print("golden \(folder) \(prompt): mtp logits \(logits) in \(input)")
    }
}
