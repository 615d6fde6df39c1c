import Tensors
import Testing

extension TensorsTests {
    /// Weights that are drawn where they are packed.
    @Suite struct RandomWeightTests {
        private func weight(
            _ format: NumberFormat, seed: UInt64, threads: Int, transposed: Bool = false
        ) throws -> Weight {
            let packing = try WeightPacking(
                random: seed, format: format, outputs: 1100, inputs: 4096, transposed: transposed)
            #expect(packing.byteCount >= format.byteCount(of: 1100 * 4096))
            let pool = ThreadPool(threads: threads)
            pool.run { thread, count in
                for piece in stride(from: thread, to: packing.pieceCount, by: count) {
                    #expect(throws: Never.self) {
                        try packing.pack(piece, pool: pool, thread: thread)
                    }
                }
            }
            return packing.weight
        }

        @Test(arguments: [NumberFormat.bfloat16, .float8e4m3, .int4, .mxfp4])
        func `random numbers of every format are finite and of one size`(
            format: NumberFormat
        ) throws {
            let weight = try weight(format, seed: 7, threads: 2)
            #expect(weight.format == format)
            let values = weight.widened().values
            #expect(values.allSatisfy { $0.isFinite })
            let count = Double(values.count)
            let mean = values.reduce(0) { $0 + Double($1) } / count
            let square = values.reduce(0) { $0 + Double($1) * Double($1) } / count
            // 0.0187 (e4m3), 0.0189 (bf16), 0.0181 (int4) and 0.0229 (mxfp4), from their codes.
            #expect((0.017 ... 0.024).contains(square.squareRoot()), "\(square.squareRoot())")
            // int4 has one code more below zero than above: half a scale of 2^-8.
            let shift = format == .int4 ? -0.5 * 0x1p-8 : 0
            #expect(abs(mean - shift) < 1e-4, "\(mean)")
        }

        @Test(arguments: [NumberFormat.bfloat16, .float8e4m3, .int4])
        func `a seed names the numbers, whatever threads draw them`(format: NumberFormat) throws {
            let one = try weight(format, seed: 7, threads: 1).widened().values
            #expect(try weight(format, seed: 7, threads: 3).widened().values == one)
            #expect(try weight(format, seed: 8, threads: 1).widened().values != one)
        }

        @Test func `a transposed matrix has the numbers of the plain one`() throws {
            let plain = try weight(.float8e4m3, seed: 3, threads: 1).widened()
            let other = try weight(.float8e4m3, seed: 3, threads: 1, transposed: true).widened()
            #expect(other.rows == plain.columns && other.columns == plain.rows)
            for (row, column) in [(0, 0), (1099, 4095), (17, 2000)] {
                #expect(plain.row(row)[column] == other.row(column)[row])
            }
        }

        @Test func `inputs that scales do not divide are refused`() {
            #expect(throws: TensorError.groups(inputs: 40, size: 32)) {
                try WeightPacking(random: 1, format: .int4, outputs: 64, inputs: 40)
            }
        }
    }
}
