import Encoding
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite struct BatchInvarianceTests {
    /// One sequence on its way through random batches.
    private struct Sequence {
        let tokens: [Int]
        var done = 0
        var blocks: [BlockID] = []
        var logits: [Float] = []
    }

    @Test(arguments: ["T-f32", "T-bf16", "T-fp8", "Y-f32"], Compute.allCases)
    func `a token's logits have the same bits whatever shares its batch`(
        folder: String, compute: Compute
    ) throws {
        let golden = try Golden(folder)
        let seed =
            UInt64(folder.utf8.reduce(0) { $0 * 31 + Int($1) }) + (compute == .float32 ? 0 : 1)
        var random = SplitMix64(seed: seed)
        let vocabulary = golden.configuration.vocabularySize
        let texts = (0 ..< 7).map { _ in
            (0 ..< Int.random(in: 3 ... 50, using: &random)).map { _ in
                Int.random(in: 0 ..< vocabulary, using: &random)
            }
        }
        var results: [[[Float]]] = []
        for (threads, alone) in [(1, true), (2, false), (3, false)] {
            let model = try golden.model(compute: compute, threads: threads)
            results.append(
                try run(model, texts, golden.cache(blocks: 40), alone: alone, &random))
        }
        #expect(results[1] == results[0], "seed \(seed)")
        #expect(results[2] == results[0], "seed \(seed)")
    }

    /// Runs all texts: each alone in one piece, or in random pieces of random batches.
    private func run(
        _ model: Model, _ texts: [[Int]], _ cache: BlockCache, alone: Bool,
        _ random: inout SplitMix64
    ) throws -> [[Float]] {
        var sequences = texts.map { Sequence(tokens: $0) }
        var taken = 0
        for index in sequences.indices {
            sequences[index].blocks = cache.blocks(
                tokens: sequences[index].tokens.count, from: taken)
            taken += sequences[index].blocks.count
        }
        while let first = sequences.indices.first(where: {
            sequences[$0].done < sequences[$0].tokens.count
        }) {
            var chosen: [Int] = [first]
            if !alone {
                chosen = sequences.indices.filter { index in
                    sequences[index].done < sequences[index].tokens.count
                        && (index == first || Bool.random(using: &random))
                }.shuffled(using: &random)
            }
            var chunks: [SequenceChunk] = []
            for index in chosen {
                let sequence = sequences[index]
                let rest = sequence.tokens.count - sequence.done
                let count = alone ? rest : min(rest, Int.random(in: 1 ... 9, using: &random))
                chunks.append(
                    SequenceChunk(
                        tokens: Array(sequence.tokens[sequence.done ..< sequence.done + count]),
                        position: sequence.done, blocks: sequence.blocks, wanted: .all))
                sequences[index].done += count
            }
            let logits = try model.forward(chunks, cache: cache).logits
            var row = 0
            for (index, chunk) in zip(chosen, chunks) {
                sequences[index].logits +=
                    logits.view(rows: row ..< row + chunk.tokens.count).values
                row += chunk.tokens.count
            }
        }
        return sequences.map(\.logits)
    }

    @Test func `only the wanted rows get logits`() throws {
        let golden = try Golden("T-f32")
        let model = try golden.model()
        let cache = golden.cache()
        let a = cache.blocks(tokens: 5)
        let b = cache.blocks(tokens: 5, from: 1)
        let all = try model.forward(
            [SequenceChunk(tokens: [1, 2, 3, 4, 5], position: 0, blocks: a, wanted: .all)],
            cache: cache)
        let mixed = try model.forward(
            [
                SequenceChunk(tokens: [9, 9], position: 0, blocks: b, wanted: .none),
                SequenceChunk(tokens: [1, 2, 3, 4, 5], position: 0, blocks: a, wanted: .last),
            ], cache: cache)
        #expect(mixed.logits.rows == 1)
        #expect(mixed.logits.values == all.logits.view(rows: 4 ..< 5).values)
    }

    @Test func `bad requests are refused in one line`() throws {
        let golden = try Golden("T-f32")
        let model = try golden.model()
        let cache = golden.cache(blocks: 40)
        let blocks = cache.blocks(tokens: 600)
        func refusal(_ tokens: [Int], _ position: Int, _ blocks: [BlockID]) -> String {
            do {
                _ = try model.forward(
                    [SequenceChunk(tokens: tokens, position: position, blocks: blocks)],
                    cache: cache)
                return "accepted"
            } catch { return "\(error)" }
        }
        #expect(
            refusal([1024], 0, blocks)
                == "token 1024 is out of range: the model has 1024 (vocab_size)")
        #expect(refusal([-1], 0, blocks).contains("token -1 is out of range"))
        #expect(refusal([1], 512, blocks).contains("exceed the context of 512"))
        #expect(refusal([1], 20, Array(blocks.prefix(1))).contains("blocks of 16"))
        #expect(refusal([1], 0, [BlockID(rawValue: 40)]).contains("the cache has 40"))
    }
}
