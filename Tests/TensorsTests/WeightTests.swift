import Tensors
import Testing

extension TensorsTests {
    @Suite struct WeightTests {
        @Test(arguments: NumberFormat.allCases)
        func `a packed weight widens to the checkpoint's values`(format: NumberFormat) throws {
            var random = Random(seed: 2)
            let matrix = Matrix(format, 150, 288, &random)
            let wide = try matrix.weight().widened()
            for output in 0 ..< 150 {
                for input in 0 ..< 288 {
                    #expect(Double(wide[output, input]) == matrix.value(output, input))
                }
            }
        }

        @Test(arguments: NumberFormat.allCases, [false, true])
        func `a slice holds the values of its rows, transposed or not`(
            format: NumberFormat, transposed: Bool
        ) throws {
            var random = Random(seed: 3)
            let matrix = Matrix(format, 400, 160, &random)
            // Blocks kept whole, a part of one block, and a cut through two.
            for rows in [128 ..< 256, 130 ..< 190, 100 ..< 200] {
                let wide = try matrix.weight(rows: rows, transposed: transposed).widened()
                for row in rows {
                    for column in 0 ..< 160 {
                        let index = row - rows.lowerBound
                        let value = transposed ? wide[column, index] : wide[index, column]
                        #expect(Double(value) == matrix.value(row, column))
                    }
                }
            }
        }

        @Test func `wrong byte counts are refused in words`() {
            let bytes = [UInt8](repeating: 0, count: 8)
            let error = #expect(throws: TensorError.self) {
                try Weight(format: .bfloat16, outputs: 2, inputs: 3, bytes: bytes.span.raw)
            }
            #expect(error?.description == "the matrix has 8 bytes; its shape needs 12")
            #expect(throws: TensorError.byteCount(of: "the scales", is: 0, needs: 4)) {
                try Weight(format: .float8e4m3, outputs: 2, inputs: 4, bytes: bytes.span.raw)
            }
            #expect(throws: TensorError.shape(outputs: 0, inputs: 4)) {
                try Weight(format: .float32, outputs: 0, inputs: 4, bytes: bytes.span.raw)
            }
        }

        @Test func `an int8 weight of -128 is refused`() {
            let bytes: [UInt8] = [1, 2, 0x80, 4]
            let scales = [UInt8](repeating: 0, count: 8)
            #expect(throws: TensorError.int8Minimum(output: 1, input: 0)) {
                try Weight(
                    format: .int8, outputs: 2, inputs: 2, bytes: bytes.span.raw,
                    scales: scales.span.raw)
            }
        }

        @Test(arguments: levels)
        func `a NaN weight makes NaN outputs, not numbers`(level: Processor) throws {
            let scales = littleEndian(Float(1).bitPattern)
            let bytes: [UInt8] = [0x38, 0x7f, 0x38, 0x38, 0xff, 0x38, 0x38, 0x38]
            let weight = try Weight(
                format: .float8e4m3, outputs: 4, inputs: 2, bytes: bytes.span.raw,
                scales: scales.span.raw)
            let x = Tensor(rows: 1, columns: 2, values: [1, 1])
            let y = Tensor(rows: 1, columns: 4)
            at(level) {
                linear(x, weight, into: y, compute: .bfloat16, pool: ThreadPool(threads: 1))
            }
            #expect(y[0, 0].isNaN && y[0, 1] == 2 && y[0, 2].isNaN && y[0, 3] == 2)
        }
    }
}
