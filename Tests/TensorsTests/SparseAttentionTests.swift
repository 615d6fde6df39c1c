import CKernels
import Tensors
import Testing

extension TensorsTests {
    @Suite struct SparseAttentionTests {
        static let heads = 5

        /// Keys of sequences whose blocks are shuffled, as the cache holds them.
        struct Keys {
            let key: IndexKey
            let store: BlockStore
            let batch: AttentionBatch
            let values: [[Float]]

            init(
                _ format: EntryFormat, length: Int, newest: Int, width: Int,
                _ random: inout Random, value: (inout Random) -> Float
            ) {
                let blockTokens = 16
                let count = (length + blockTokens - 1) / blockTokens
                let entry = LatentEntry(format: format, latent: width, rope: 0)
                let store = BlockStore(
                    format: format, entryBytes: entry.byteCount, blockCount: count,
                    blockTokens: blockTokens)
                let blocks = (0 ..< Int32(count)).shuffled(using: &random)
                let key = IndexKey(format: format, width: width)
                values = (0 ..< length).map { position in
                    let row = (0 ..< width).map { _ in value(&random) }
                    let block = Int(blocks[position / blockTokens])
                    let slot = position % blockTokens
                    key.write(row.span, to: store, block: block, slot: slot)
                    // An entry without a rotated part has the same bytes.
                    return entry.read(from: store, block: block, slot: slot)
                }
                var batch = AttentionBatch()
                batch.append(blocks: blocks, position: length - newest, tokens: newest)
                self.key = key
                self.store = store
                self.batch = batch
            }
        }

        /// A token's scores in double precision.
        private func scores(
            _ queries: Tensor, _ weights: Tensor, _ token: Int, _ keys: [[Float]]
        ) -> [Double] {
            let width = queries.columns / weights.columns
            return keys.map { key in
                (0 ..< weights.columns).reduce(0.0) { sum, head in
                    let product = (0 ..< width).reduce(0.0) {
                        $0 + Double(queries[token, head * width + $1]) * Double(key[$1])
                    }
                    return sum + Double(weights[token, head]) * max(0, product)
                }
            }
        }

        @Test(arguments: levels, EntryFormat.allCases)
        func `the choice is that of double precision within rounding`(
            level: Processor, format: EntryFormat
        ) {
            var random = Random(seed: 71)
            for (width, length, count) in [(128, 700, 40), (24, 300, 299), (7, 65, 1)] {
                let keys = Keys(format, length: length, newest: 4, width: width, &random) {
                    Float.random(in: -1 ... 1, using: &$0)
                }
                let queries = random.tensor(4, Self.heads * width)
                let weights = random.tensor(4, Self.heads)
                for compute in Compute.allCases {
                    let chosen = at(level) {
                        keys.key.choose(
                            count, queries, weights: weights, batch: keys.batch,
                            store: keys.store, compute: compute, pool: ThreadPool(threads: 2))
                    }
                    // Products of values up to 1, summed over width and heads: f32 is off by 2^-24
                    // of each partial sum at most, bf16 inputs by 2^-8 of each product.
                    let step = compute == .float32 ? 0x1p-24 * Double(width) : 0x1p-8
                    let tolerance = 2 * step * Double(width * Self.heads)
                    for token in 0 ..< 4 {
                        let context = Int(keys.batch.contexts[token])
                        let row = chosen.positions[token * count ..< (token + 1) * count]
                        guard context > count else {
                            #expect(row.allSatisfy { $0 == 0 })
                            continue
                        }
                        let exact = scores(
                            queries, weights, token, Array(keys.values.prefix(context)))
                        let taken = Set(row.map { Int($0) })
                        #expect(taken.count == count && Array(row) == row.sorted())
                        let least = taken.map { exact[$0] }.min()!
                        let best = exact.indices.filter { !taken.contains($0) }
                            .map { exact[$0] }.max()!
                        #expect(best <= least + tolerance, "token \(token), \(compute)")
                    }
                }
            }
        }

        /// Whole numbers make every score exact, and many of them equal.
        @Test(arguments: levels, [EntryFormat.float32, .bfloat16])
        func `of equal scores the lower position is chosen`(
            level: Processor, format: EntryFormat
        ) {
            var random = Random(seed: 73)
            let (width, length, newest) = (16, 530, 9)
            let keys = Keys(format, length: length, newest: newest, width: width, &random) {
                Float(Int.random(in: -1 ... 1, using: &$0))
            }
            func small(_ columns: Int) -> Tensor {
                let values = (0 ..< newest * columns).map { _ in
                    Float(Int.random(in: -1 ... 1, using: &random))
                }
                return Tensor(rows: newest, columns: columns, values: values)
            }
            let (queries, weights) = (small(Self.heads * width), small(Self.heads))
            for compute in Compute.allCases {
                for count in [1, 64, 256, 520] {
                    let chosen = at(level) {
                        keys.key.choose(
                            count, queries, weights: weights, batch: keys.batch,
                            store: keys.store, compute: compute, pool: ThreadPool(threads: 3))
                    }
                    for token in 0 ..< newest {
                        let context = Int(keys.batch.contexts[token])
                        guard context > count else { continue }
                        let exact = scores(
                            queries, weights, token, Array(keys.values.prefix(context)))
                        let best = exact.indices.sorted {
                            (-exact[$0], $0) < (-exact[$1], $1)
                        }.prefix(count).sorted()
                        let row = chosen.positions[token * count ..< (token + 1) * count]
                        #expect(row.map { Int($0) } == best, "token \(token), \(count)")
                    }
                }
            }
        }

        @Test func `the largest scores are found among any numbers`() {
            var random = Random(seed: 79)
            for round in 0 ..< 200 {
                let count = Int.random(in: 1 ... 3000, using: &random)
                let kinds: [Float] = [0, -0.0, .infinity, -.infinity, 1, -1, 0x1p-140, -0x1p-140]
                let scores = (0 ..< count).map { _ in
                    round.isMultiple(of: 2)
                        ? kinds.randomElement(using: &random)!
                        : Float.random(in: -1 ... 1, using: &random)
                }
                let wanted = Int.random(in: 1 ... count, using: &random)
                var chosen = [Int32](repeating: -1, count: wanted)
                unsafe ck_top_positions(scores, Int32(count), Int32(wanted), &chosen)
                let best = scores.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }
                #expect(chosen.map { Int($0) } == best.prefix(wanted).sorted(), "round \(round)")
            }
        }

        @Test(arguments: levels)
        func `a choice does not depend on chunks, batch or threads`(level: Processor) {
            var random = Random(seed: 83)
            let (width, length, count) = (32, 900, 100)
            for compute in Compute.allCases {
                let keys = Keys(.bfloat16, length: length, newest: length, width: width, &random) {
                    Float.random(in: -1 ... 1, using: &$0)
                }
                let queries = random.tensor(length, Self.heads * width)
                let weights = random.tensor(length, Self.heads)
                func choose(_ range: Range<Int>, threads: Int) -> [Int32] {
                    keys.key.choose(
                        count, queries.view(rows: range), weights: weights.view(rows: range),
                        batch: keys.batch.rows(range), store: keys.store, compute: compute,
                        pool: ThreadPool(threads: threads)
                    ).positions
                }
                at(level) {
                    let whole = choose(0 ..< length, threads: 1)
                    for _ in 0 ..< 10 {
                        let first = Int.random(in: 0 ..< length, using: &random)
                        let end = Int.random(in: first + 1 ... length, using: &random)
                        let part = choose(
                            first ..< end, threads: Int.random(in: 1 ... 3, using: &random))
                        #expect(part == Array(whole[first * count ..< end * count]))
                    }
                }
            }
        }

        /// A cache of nothing but the chosen entries, attended to in full.
        @Test(arguments: levels, EntryFormat.allCases)
        func `attention over chosen entries has the bits of a cache of these alone`(
            level: Processor, format: EntryFormat
        ) {
            var random = Random(seed: 89)
            let (heads, length, count, newest) = (4, 700, 300, 6)
            for (latent, rope) in [(96, 16), (20, 5)] {
                let width = latent + rope
                let entry = LatentEntry(format: format, latent: latent, rope: rope)
                func store() -> BlockStore {
                    BlockStore(
                        format: format, entryBytes: entry.byteCount, blockCount: 44,
                        blockTokens: 16)
                }
                let blocks = (0 ..< Int32(44)).shuffled(using: &random)
                func write(_ values: [Float], to store: BlockStore, _ position: Int) {
                    entry.write(
                        values.span, to: store, block: Int(blocks[position / 16]),
                        slot: position % 16)
                }
                let values = (0 ..< length).map { _ in random.values(width) }
                let all = store()
                for (position, row) in values.enumerated() { write(row, to: all, position) }
                var batch = AttentionBatch()
                batch.append(blocks: blocks, position: length - newest, tokens: newest)
                let choices = (0 ..< newest).map { token in
                    (0 ..< Int32(length - newest + token + 1)).shuffled(using: &random)
                        .prefix(count).sorted()
                }
                var chosen = ChosenPositions(tokens: newest, count: count)
                chosen.positions = choices.flatMap { $0 }
                batch.chosen = chosen
                let queries = random.tensor(newest, heads * width)
                for compute in Compute.allCases {
                    func attend(_ queries: Tensor, _ batch: AttentionBatch, _ store: BlockStore)
                        -> [Float]
                    {
                        let out = Tensor(rows: queries.rows, columns: heads * latent)
                        at(level) {
                            entry.attend(
                                queries, batch: batch, store: store, heads: heads, scale: 0.3,
                                into: out, compute: compute, pool: ThreadPool(threads: 2))
                        }
                        return out.values
                    }
                    let sparse = attend(queries, batch, all)
                    for (token, choice) in choices.enumerated() {
                        let few = store()
                        for (place, position) in choice.enumerated() {
                            write(values[Int(position)], to: few, place)
                        }
                        var dense = AttentionBatch()
                        dense.append(blocks: blocks, position: count - 1, tokens: 1)
                        let expected = attend(queries.view(rows: token ..< token + 1), dense, few)
                        let row = token * heads * latent ..< (token + 1) * heads * latent
                        #expect(Array(sparse[row]) == expected, "token \(token), \(compute)")
                    }
                }
            }
        }
    }
}
