import Testing

@testable import Tensors

extension TensorsTests {
    /// What `Arithmetic` says of levels, compared bit by bit.
    @Suite struct ArithmeticTests {
        let pool = ThreadPool(threads: 2)

        /// Levels beside the first of them that has the same arithmetic.
        private func equals(_ kind: ProductKind) -> [(Processor, Processor)] {
            levels.compactMap { level in
                let first = levels.first { Arithmetic(of: $0, kind) == Arithmetic(of: level, kind) }
                return first.flatMap { $0 == level ? nil : ($0, level) }
            }
        }

        @Test(arguments: NumberFormat.packed, Compute.allCases)
        func `levels with one arithmetic give a product the same bits`(
            format: NumberFormat, compute: Compute
        ) throws {
            let exact = try #require(ProductKind(rawValue: format.rawValue))
            let isFourBit = format == .int4 || format == .mxfp4
            let kind = compute == .float32 && !isFourBit ? .float32 : exact
            var random = Random(seed: 61)
            for (rows, outputs, inputs) in [(1, 128, 640), (5, 70, 96), (70, 130, 288)] {
                let weight = try Matrix(format, outputs, inputs, &random).weight()
                let x = random.tensor(rows, inputs)
                func product(_ level: Processor) -> [Float] {
                    at(level) {
                        let y = Tensor(rows: rows, columns: outputs)
                        linear(x, weight, into: y, compute: compute, pool: pool)
                        return y.values
                    }
                }
                for (first, second) in equals(kind) {
                    let same = product(first).map(\.bitPattern) == product(second).map(\.bitPattern)
                    #expect(same, "\(rows) rows: \(first), \(second)")
                }
            }
        }

        @Test(arguments: Compute.allCases)
        func `levels with one arithmetic give attention the same bits`(compute: Compute) {
            var random = Random(seed: 62)
            let entry = LatentEntry(format: .bfloat16, latent: 64, rope: 16)
            let store = BlockStore(
                format: .bfloat16, entryBytes: entry.byteCount, blockCount: 1, blockTokens: 300)
            for slot in 0 ..< 300 {
                entry.write(random.values(80).span, to: store, block: 0, slot: slot)
            }
            var batch = AttentionBatch()
            batch.append(blocks: [0], position: 290, tokens: 10)
            let queries = random.tensor(10, 4 * 80)
            func attend(_ level: Processor) -> [UInt32] {
                at(level) {
                    let out = Tensor(rows: 10, columns: 4 * 64)
                    entry.attend(
                        queries, batch: batch, store: store, heads: 4, scale: 0.3, into: out,
                        compute: compute, pool: pool)
                    return out.values.map(\.bitPattern)
                }
            }
            for (first, second) in equals(compute == .float32 ? .float32 : .attention) {
                let same = attend(first) == attend(second)
                #expect(same, "\(first), \(second)")
            }
        }

        /// The other kinds, and what is done row by row, do not change its bits.
        @Test(arguments: NumberFormat.packed)
        func `a kind that is set apart has the bits of that level`(format: NumberFormat) throws {
            let kind = try #require(ProductKind(rawValue: format.rawValue))
            var random = Random(seed: 63)
            let expert = ExpertWeights(
                gate: try Matrix(format, 64, 96, &random).weight(),
                up: try Matrix(format, 64, 96, &random).weight(),
                down: try Matrix(format, 96, 64, &random).weight())
            let x = random.tensor(66, 96)
            func layer() -> [UInt32] {
                let y = Tensor(rows: 66, columns: 96)
                expertLayer(
                    x, offsets: [0, 66], experts: [expert], into: y, compute: .bfloat16, pool: pool)
                return y.values.map(\.bitPattern)
            }
            for level in levels {
                let whole = at(level) { layer() }
                defer { Processor.best.use() }
                level.use(for: kind)
                #expect(Processor.inUse(for: kind) == level)
                let apart = layer()
                let same = apart == whole
                #expect(same, "\(level)")
            }
        }
    }
}
