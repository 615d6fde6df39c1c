import Foundation
import Tensors
import Testing

extension TensorsTests {
    @Suite struct GroupedAttentionTests {
        static let scale: Float = 0.3

        /// A cache whose sequences' blocks are shuffled, and the entries as attention sees them.
        struct Cache {
            let entry: GroupedEntry
            let store: BlockStore
            var blocks: [[Int32]] = []
            var entries: [[[Float]]] = []

            init(
                _ format: EntryFormat, _ lengths: [Int], blockTokens: Int, heads: Int, size: Int,
                _ random: inout Random
            ) {
                let counts = lengths.map { ($0 + blockTokens - 1) / blockTokens }
                let total = counts.reduce(0, +)
                entry = GroupedEntry(format: format, heads: heads, size: size)
                store = BlockStore(
                    format: format, entryBytes: entry.byteCount, blockCount: total,
                    blockTokens: blockTokens)
                var free = (0 ..< Int32(total)).shuffled(using: &random)
                for (length, count) in zip(lengths, counts) {
                    let own = Array(free.prefix(count))
                    blocks.append(own)
                    free.removeFirst(count)
                    var read: [[Float]] = []
                    for position in 0 ..< length {
                        let values = random.values(entry.width, in: -2 ... 2)
                        let block = Int(own[position / blockTokens])
                        let slot = position % blockTokens
                        entry.write(values.span, to: store, block: block, slot: slot)
                        read.append(entry.read(from: store, block: block, slot: slot))
                    }
                    entries.append(read)
                }
            }
        }

        /// Key-value heads, query heads of each, values of a head, tokens of a block.
        static let shapes = [(1, 4, 64, 16), (2, 3, 24, 5), (4, 1, 72, 64), (2, 8, 128, 32)]

        @Test(arguments: levels, EntryFormat.allCases)
        func `grouped attention equals softmax in double precision`(
            level: Processor, format: EntryFormat
        ) {
            var random = Random(seed: 47)
            // A window within a chunk of positions, one over two, and each with and without sinks.
            for (shape, window) in zip(
                Self.shapes + Self.shapes, [nil, 30, 1, 280, 7, nil, 100, 64])
            {
                let (heads, group, size, blockTokens) = shape
                let sinks =
                    window == 30 || window == 280 || blockTokens == 16
                    ? random.tensor(1, heads * group) : nil
                let cache = Cache(
                    format, [300, 37, 1], blockTokens: blockTokens, heads: heads, size: size,
                    &random)
                var batch = AttentionBatch()
                batch.append(blocks: cache.blocks[0], position: 250, tokens: 50)
                batch.append(blocks: cache.blocks[1], position: 36, tokens: 1)
                batch.append(blocks: cache.blocks[2], position: 0, tokens: 1)
                let queries = random.tensor(52, heads * group * size)
                for compute in Compute.allCases {
                    let out = Tensor(rows: 52, columns: heads * group * size)
                    at(level) {
                        cache.entry.attend(
                            queries, batch: batch, store: cache.store, queryHeads: heads * group,
                            scale: Self.scale, window: window, sinks: sinks, into: out,
                            compute: compute, pool: ThreadPool(threads: 2))
                    }
                    for (token, sequence, context) in [
                        (0, 0, 251), (17, 0, 268), (49, 0, 300), (50, 1, 37), (51, 2, 1),
                    ] {
                        let seen = cache.entries[sequence].prefix(context)
                        let error = worstError(
                            queries, out, token, Array(seen.suffix(window ?? context)),
                            cache.entry, sinks)
                        // As for latent attention: exponents of at most scale * 2 * size, off by
                        // size * 2^-24 of that, entries up to 2. bf16 rounds queries and weights.
                        let spread = Double(Self.scale) * 2 * Double(size)
                        let step = compute == .float32 ? 0x1p-21 : 0x1p-8
                        #expect(
                            error <= 2 * step * (1 + spread),
                            """
                            \(token), \(compute), \(heads) by \(group) heads of \(size), window \
                            \(window ?? 0)
                            """)
                    }
                }
            }
        }

        private func worstError(
            _ queries: Tensor, _ out: Tensor, _ token: Int, _ entries: [[Float]],
            _ shape: GroupedEntry, _ sinks: Tensor?
        ) -> Double {
            let size = shape.size
            let queryHeads = queries.columns / size
            var worst = 0.0
            for head in 0 ..< queryHeads {
                let part = head / (queryHeads / shape.heads) * 2 * size
                let scores = entries.map { entry in
                    Double(Self.scale)
                        * (0 ..< size).reduce(0.0) {
                            $0 + Double(queries[token, head * size + $1]) * Double(entry[part + $1])
                        }
                }
                let top = scores.max()!
                let weights = scores.map { exp($0 - top) }
                let sink = sinks.map { exp(Double($0[0, head]) - top) } ?? 0
                let total = weights.reduce(sink, +)
                for i in 0 ..< size {
                    let sum = zip(weights, entries).reduce(0.0) {
                        $0 + $1.0 * Double($1.1[part + size + i])
                    }
                    worst = max(worst, abs(Double(out[token, head * size + i]) - sum / total))
                }
            }
            return worst
        }

        /// A prompt in one piece, in random chunks, token by token, on 1 to 3 threads: the same
        /// bits.
        @Test(arguments: levels, EntryFormat.allCases)
        func `grouped attention's bits do not depend on chunks or threads`(
            level: Processor, format: EntryFormat
        ) {
            let seed: UInt64 = 53
            var random = Random(seed: seed)
            let (heads, group, size, length) = (2, 4, 64, 600)
            for (compute, window) in zip(
                Compute.allCases + Compute.allCases, [nil, nil, 100, 300])
            {
                let sinks = window == nil ? nil : random.tensor(1, heads * group)
                let cache = Cache(
                    format, [length], blockTokens: 32, heads: heads, size: size, &random)
                let queries = random.tensor(length, heads * group * size)
                func attend(_ range: Range<Int>, threads: Int) -> Tensor {
                    var batch = AttentionBatch()
                    batch.append(
                        blocks: cache.blocks[0], position: range.lowerBound, tokens: range.count)
                    let out = Tensor(rows: range.count, columns: queries.columns)
                    cache.entry.attend(
                        queries.view(rows: range), batch: batch, store: cache.store,
                        queryHeads: heads * group, scale: 0.2, window: window, sinks: sinks,
                        into: out, compute: compute, pool: ThreadPool(threads: threads))
                    return out
                }
                at(level) {
                    let whole = attend(0 ..< length, threads: 1)
                    for _ in 0 ..< 10 {
                        let first = Int.random(in: 0 ..< length, using: &random)
                        let most = Bool.random(using: &random) ? first + 1 : length
                        let end = Int.random(in: first + 1 ... most, using: &random)
                        let threads = Int.random(in: 1 ... 3, using: &random)
                        let part = attend(first ..< end, threads: threads)
                        let same = (first ..< end).allSatisfy {
                            bits(part, $0 - first) == bits(whole, $0)
                        }
                        #expect(same, "\(first)..<\(end), \(threads) threads, seed \(seed)")
                    }
                }
            }
        }

        @Test func `entries before a window are not read`() {
            var random = Random(seed: 61)
            var cache = Cache(.float32, [700], blockTokens: 16, heads: 2, size: 32, &random)
            let queries = random.tensor(1, 4 * 32)
            func attend() -> [Float] {
                var batch = AttentionBatch()
                batch.append(blocks: cache.blocks[0], position: 699, tokens: 1)
                let out = Tensor(rows: 1, columns: 4 * 32)
                cache.entry.attend(
                    queries, batch: batch, store: cache.store, queryHeads: 4, scale: 0.2,
                    window: 128, into: out, compute: .float32, pool: ThreadPool(threads: 2))
                return out.values
            }
            let before = attend()
            // The window begins at 572, and panels of 64 positions at 512: what lies before that
            // is not a number, which would spoil every sum that it is in.
            let wrong = [Float](repeating: .nan, count: cache.entry.width)
            for position in 0 ..< 512 {
                cache.entry.write(
                    wrong.span, to: cache.store, block: Int(cache.blocks[0][position / 16]),
                    slot: position % 16)
            }
            cache.entries = []
            #expect(attend() == before)
        }

        @Test func `a sink far above all scores takes the whole weight, one far below none`() {
            var random = Random(seed: 67)
            let cache = Cache(.float32, [300], blockTokens: 16, heads: 1, size: 32, &random)
            let queries = random.tensor(1, 2 * 32)
            func attend(_ sinks: Tensor?) -> Tensor {
                var batch = AttentionBatch()
                batch.append(blocks: cache.blocks[0], position: 299, tokens: 1)
                let out = Tensor(rows: 1, columns: 2 * 32)
                cache.entry.attend(
                    queries, batch: batch, store: cache.store, queryHeads: 2, scale: 0.2,
                    sinks: sinks, into: out, compute: .float32, pool: ThreadPool(threads: 1))
                return out
            }
            let sinks = Tensor(rows: 1, columns: 2, values: [1e4, -1e4])
            let (with, without) = (attend(sinks), attend(nil))
            #expect((0 ..< 32).allSatisfy { with[0, $0] == 0 })
            #expect((32 ..< 64).allSatisfy { with[0, $0] == without[0, $0] })
        }

        @Test func `every head of a row is normed by itself, and a bias is added to every row`() {
            var random = Random(seed: 59)
            let x = random.tensor(3, 4 + 2 * 24)
            let before = x.values
            let weight = random.tensor(1, 24)
            rmsNorm(
                x, slices: RotarySlices(first: 4, stride: 24, count: 2), weight: weight,
                epsilon: 1e-5, pool: ThreadPool(threads: 2))
            for row in 0 ..< 3 {
                for slice in 0 ..< 2 {
                    let old = (0 ..< 24).map { Double(before[row * 52 + 4 + slice * 24 + $0]) }
                    let root = (old.reduce(0) { $0 + $1 * $1 } / 24 + 1e-5).squareRoot()
                    for i in 0 ..< 24 {
                        let wanted = old[i] / root * Double(weight[0, i])
                        // A sum of 24 squares and three more roundings of values below 8.
                        #expect(abs(Double(x[row, 4 + slice * 24 + i]) - wanted) < 32 * 0x1p-21)
                    }
                }
                #expect((0 ..< 4).allSatisfy { x[row, $0] == before[row * 52 + $0] })
            }
            let normed = x.values
            let bias = random.tensor(1, 52)
            add(bias: bias, into: x, pool: ThreadPool(threads: 2))
            let sums = zip(normed.indices, normed).map { $1 + bias[0, $0 % 52] }
            #expect(x.values == sums)
        }
    }
}
