import Tensors
import Testing

extension TensorsTests {
    @Suite struct ScatteredRowsTests {
        let pool = ThreadPool(threads: 2)
        private static let (hidden, intermediate) = (200, 136)
        private static let offsets = [0, 3, 3, 143, 144]
        private static let rowCount = 144

        private func experts(_ format: NumberFormat, _ random: inout Random) throws
            -> [ExpertWeights]
        {
            try (0 ..< 4).map { _ in
                ExpertWeights(
                    gate: try Matrix(format, Self.intermediate, Self.hidden, &random).weight(),
                    up: try Matrix(format, Self.intermediate, Self.hidden, &random).weight(),
                    down: try Matrix(format, Self.hidden, Self.intermediate, &random).weight())
            }
        }

        /// Rows of the layer, from rows of `source` in another order, into `target` in a third.
        private func run(
            _ experts: [ExpertWeights], _ source: EncodedRows, into target: EncodedRows,
            _ compute: Compute
        ) {
            let inputs = ScatteredRows(source.codec, columns: Self.hidden)
            let outputs = ScatteredRows(target.codec, columns: Self.hidden)
            inputs.begin(count: Self.rowCount)
            outputs.begin(count: Self.rowCount)
            var bytes = target.mutableBytes
            outputs.withArea(writing: &bytes) { area in
                for row in 0 ..< Self.rowCount {
                    let place = Self.rowCount - 1 - row
                    outputs.place(row, area: area, offset: place * target.rowStride)
                }
                inputs.withArea(reading: source.bytes) { area in
                    for row in 0 ..< Self.rowCount {
                        let place = Self.place(row)
                        inputs.place(row, area: area, offset: place * source.rowStride)
                    }
                    expertLayer(
                        inputs, offsets: Self.offsets, experts: experts, into: outputs,
                        compute: compute, pool: pool)
                }
            }
        }

        /// Two rows of the layer lie in each row of the source.
        private static func place(_ row: Int) -> Int { row * 5 % (rowCount / 2) }

        /// Output rows that differ from those of decoding, the plain layer, and encoding.
        private func wrongRows(
            _ experts: [ExpertWeights], _ read: RowCodec, _ written: RowCodec, _ compute: Compute,
            _ values: Tensor
        ) -> Int {
            let source = EncodedRows(read, rows: Self.rowCount / 2, columns: Self.hidden)
            let x = Tensor(rows: Self.rowCount, columns: Self.hidden)
            for row in 0 ..< source.rows {
                var bytes = source.mutableRow(row)
                read.encode(values.row(row), into: &bytes)
            }
            for row in 0 ..< Self.rowCount {
                var decoded = x.mutableRow(row)
                read.decode(source.row(Self.place(row)), into: &decoded)
            }
            let y = Tensor(rows: Self.rowCount, columns: Self.hidden)
            expertLayer(
                x, offsets: Self.offsets, experts: experts, into: y, compute: compute, pool: pool)
            let target = EncodedRows(written, rows: Self.rowCount, columns: Self.hidden)
            run(experts, source, into: target, compute)
            let expected = EncodedRows(written, rows: 1, columns: Self.hidden)
            return (0 ..< Self.rowCount).count { row in
                var bytes = expected.mutableRow(0)
                written.encode(y.row(row), into: &bytes)
                return !target.row(Self.rowCount - 1 - row).holdsSameBytes(
                    at: 0, as: expected.row(0), at: 0, count: expected.rowBytes)
            }
        }

        @Test(arguments: levels, raggedFormats)
        func `an expert layer over scattered rows has the bits of decoding and encoding`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 11)
            let experts = try experts(format, &random)
            let values = random.tensor(Self.rowCount / 2, Self.hidden)
            // Below the smallest normal bf16, where a level may round to zero.
            for column in 0 ..< 40 { values[1, column] *= 1e-38 }
            let codecs: [RowCodec] = [
                .float32, .bfloat16, .float8e4m3(powerOfTwo: false),
                .float8e4m3(powerOfTwo: true),
            ]
            for compute in Compute.allCases {
                for read in codecs {
                    for written: RowCodec in [.float32, .bfloat16] {
                        let wrong = at(level) { wrongRows(experts, read, written, compute, values) }
                        #expect(wrong == 0, "\(read) to \(written), \(compute)")
                    }
                }
            }
        }

        @Test func `a row is read and written alone`() {
            let memory = EncodedRows(.bfloat16, rows: 3, columns: 4)
            let rows = ScatteredRows(.bfloat16, columns: 4)
            rows.begin(count: 1)
            let values = Tensor(rows: 1, columns: 4, values: [1, 2, 3, 4])
            var bytes = memory.mutableBytes
            rows.withArea(writing: &bytes) { area in
                rows.place(0, area: area, offset: memory.rowStride)
                rows.withMutableRow(0) { RowCodec.bfloat16.encode(values.row(0), into: &$0) }
                let isSame = rows.withRow(0) { $0.byteCount == memory.rowBytes }
                #expect(isSame)
            }
            let read = Tensor(rows: 1, columns: 4)
            for (row, expected) in [[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]].enumerated() {
                var decoded = read.mutableRow(0)
                RowCodec.bfloat16.decode(memory.row(row), into: &decoded)
                #expect(read.values == expected.map(Float.init))
            }
        }
    }
}
