import Foundation
import Tensors
import Testing

extension TensorsTests {
    @Suite struct AttentionTests {
        static let heads = 4

        /// A cache whose sequences' blocks are shuffled, and the entries as attention sees them.
        struct Cache {
            let entry: LatentEntry
            let store: BlockStore
            var blocks: [[Int32]] = []
            var entries: [[[Float]]] = []

            init(
                _ format: EntryFormat, _ lengths: [Int], blockTokens: Int, latent: Int,
                rope: Int, _ random: inout Random
            ) {
                let counts = lengths.map { ($0 + blockTokens - 1) / blockTokens }
                let total = counts.reduce(0, +)
                let entry = LatentEntry(format: format, latent: latent, rope: rope)
                let store = BlockStore(
                    format: format, entryBytes: entry.byteCount, blockCount: total,
                    blockTokens: blockTokens)
                self.entry = entry
                self.store = store
                var free = (0 ..< Int32(total)).shuffled(using: &random)
                for (length, count) in zip(lengths, counts) {
                    blocks.append(Array(free.prefix(count)))
                    free.removeFirst(count)
                    entries.append(
                        (0 ..< length).map { position in
                            let values = random.values(latent + rope, in: -2 ... 2)
                            let block = Int(blocks.last![position / blockTokens])
                            let slot = position % blockTokens
                            entry.write(values.span, to: store, block: block, slot: slot)
                            return entry.read(from: store, block: block, slot: slot)
                        })
                }
            }
        }

        @Test(arguments: levels, EntryFormat.allCases)
        func `attention equals softmax in double precision`(
            level: Processor, format: EntryFormat
        ) {
            var random = Random(seed: 41)
            for (latent, rope, blockTokens) in [(96, 16, 16), (20, 4, 5), (64, 0, 64)] {
                let cache = Cache(
                    format, [300, 37, 1], blockTokens: blockTokens, latent: latent, rope: rope,
                    &random)
                var batch = AttentionBatch()
                batch.append(blocks: cache.blocks[0], position: 250, tokens: 50)
                batch.append(blocks: cache.blocks[1], position: 36, tokens: 1)
                batch.append(blocks: cache.blocks[2], position: 0, tokens: 1)
                let width = latent + rope
                let queries = random.tensor(52, Self.heads * width)
                for compute in Compute.allCases {
                    let out = Tensor(rows: 52, columns: Self.heads * latent)
                    at(level) {
                        cache.entry.attend(
                            queries, batch: batch, store: cache.store, heads: Self.heads,
                            scale: 0.3, into: out, compute: compute, pool: ThreadPool(threads: 2))
                    }
                    for (token, sequence, context) in [
                        (0, 0, 251), (17, 0, 268), (49, 0, 300), (50, 1, 37), (51, 2, 1),
                    ] {
                        let error = worstError(
                            queries, out, token, Array(cache.entries[sequence].prefix(context)),
                            latent: latent, compute: compute)
                        // f32: exponents of at most 0.3 * 2 * width, off by width * 2^-24 of that,
                        // entries up to 2. bf16 rounds queries and weights, by 2^-8 each.
                        let spread = 0.3 * 2 * Double(width)
                        let step = compute == .float32 ? 0x1p-21 : 0x1p-8
                        #expect(error <= 2 * step * (1 + spread), "token \(token), \(compute)")
                    }
                }
            }
        }

        private func worstError(
            _ queries: Tensor, _ out: Tensor, _ token: Int, _ entries: [[Float]], latent: Int,
            compute: Compute
        ) -> Double {
            let width = queries.columns / Self.heads
            var worst = 0.0
            for head in 0 ..< Self.heads {
                let scores = entries.map { entry in
                    0.3
                        * (0 ..< width).reduce(0.0) {
                            $0 + Double(queries[token, head * width + $1]) * Double(entry[$1])
                        }
                }
                let top = scores.max()!
                let weights = scores.map { exp($0 - top) }
                let total = weights.reduce(0, +)
                for i in 0 ..< latent {
                    let sum = zip(weights, entries).reduce(0.0) { $0 + $1.0 * Double($1.1[i]) }
                    worst = max(worst, abs(Double(out[token, head * latent + i]) - sum / total))
                }
            }
            return worst
        }

        /// A prompt in one piece, in random chunks, token by token, among others, on 1 to 3
        /// threads: the same bits.
        @Test(arguments: levels)
        func `attention's bits do not depend on chunks, batch or threads`(level: Processor) {
            let seed: UInt64 = 43
            var random = Random(seed: seed)
            let (latent, rope, length) = (64, 16, 600)
            let width = latent + rope
            for compute in Compute.allCases {
                let cache = Cache(
                    .bfloat16, [length, 90], blockTokens: 32, latent: latent, rope: rope, &random)
                let queries = random.tensor(length, Self.heads * width)
                let others = random.tensor(3, Self.heads * width)
                func attend(_ range: Range<Int>, others count: Int, threads: Int) -> Tensor {
                    var batch = AttentionBatch()
                    if count > 0 {
                        batch.append(blocks: cache.blocks[1], position: 80, tokens: count)
                    }
                    batch.append(
                        blocks: cache.blocks[0], position: range.lowerBound, tokens: range.count)
                    let rows = Tensor(rows: count + range.count, columns: queries.columns)
                    rows.view(rows: 0 ..< count).copy(from: others.view(rows: 0 ..< count))
                    rows.view(rows: count ..< rows.rows).copy(from: queries.view(rows: range))
                    let out = Tensor(rows: rows.rows, columns: Self.heads * latent)
                    cache.entry.attend(
                        rows, batch: batch, store: cache.store, heads: Self.heads, scale: 0.2,
                        into: out, compute: compute, pool: ThreadPool(threads: threads))
                    return out.view(rows: count ..< out.rows)
                }
                at(level) {
                    let whole = attend(0 ..< length, others: 0, threads: 1)
                    for _ in 0 ..< 12 {
                        let first = Int.random(in: 0 ..< length, using: &random)
                        let most = Bool.random(using: &random) ? first + 1 : length
                        let end = Int.random(in: first + 1 ... most, using: &random)
                        let threads = Int.random(in: 1 ... 3, using: &random)
                        let count = Int.random(in: 0 ... 3, using: &random)
                        let part = attend(first ..< end, others: count, threads: threads)
                        let same = (first ..< end).allSatisfy {
                            bits(part, $0 - first) == bits(whole, $0)
                        }
                        #expect(same, "\(first)..<\(end), \(threads) threads, seed \(seed)")
                    }
                }
            }
        }
    }
}
