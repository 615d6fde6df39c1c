import Tensors
import Testing

extension TensorsTests {
    @Suite struct LinearTests {
        let pool = ThreadPool(threads: 2)

        @Test(arguments: levels, raggedFormats)
        func `a product equals the sum in double precision`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 1)
            for (rows, outputs, inputs) in [
                (1, 64, 128), (3, 100, 77), (8, 200, 300), (29, 7, 513),
            ] {
                let matrix = Matrix(format, outputs, inputs, &random)
                let x = random.tensor(rows, inputs)
                for compute in Compute.allCases {
                    let y = try at(level) {
                        let y = Tensor(rows: rows, columns: outputs)
                        linear(x, try matrix.weight(), into: y, compute: compute, pool: pool)
                        return y
                    }
                    check(y, x, matrix, compute)
                }
            }
        }

        private func check(_ y: Tensor, _ x: Tensor, _ matrix: Matrix, _ compute: Compute) {
            for row in 0 ..< y.rows {
                let inputs = rounded(
                    (0 ..< x.columns).map { x[row, $0] }, for: compute, matrix.format)
                for output in 0 ..< y.columns {
                    var sum = 0.0
                    var magnitude = 0.0
                    for i in 0 ..< x.columns {
                        let product = inputs[i] * matrix.value(output, i)
                        sum += product
                        magnitude += abs(product)
                    }
                    let error = abs(Double(y[row, output]) - sum)
                    guard error <= bound(x.columns, magnitude) else {
                        Issue.record("[\(row), \(output)] is \(y[row, output]), not \(sum)")
                        return
                    }
                }
            }
        }

        /// Output o is code o at every input, and a row takes one input alone. Rows enough for
        /// every way of cutting them.
        @Test(arguments: levels)
        func `every e4m3 code meets its input as its value`(level: Processor) throws {
            let (outputs, inputs) = (256, 131)
            let bytes = (0 ..< outputs * inputs).map { UInt8($0 / inputs) }
            let format = NumberFormat.float8e4m3
            let scales = (0 ..< format.scaleCount(outputs: outputs, inputs: inputs))
                .flatMap { _ in littleEndian(Float(1).bitPattern) }
            let weight = try Weight(
                format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.raw,
                scales: scales.span.raw)
            for rows in [1, 2, 3, 4, 5, 6, 8, 13] {
                let x = Tensor(rows: rows, columns: inputs)
                for row in 0 ..< rows { x[row, (row * 37 + 130) % inputs] = 1 }
                let y = Tensor(rows: rows, columns: outputs)
                at(level) { linear(x, weight, into: y, compute: .bfloat16, pool: pool) }
                for row in 0 ..< rows {
                    let wrong = (0 ..< outputs).first { code in
                        let value = Quantisation.float8(UInt8(code))
                        return value.isNaN ? !y[row, code].isNaN : y[row, code] != value
                    }
                    #expect(wrong == nil, "\(rows) rows, row \(row)")
                }
            }
        }

        /// One input in 16 has every code, the others have none that is small: blocks with a code
        /// that is no number lie beside blocks without one.
        @Test(arguments: levels)
        func `a small e4m3 code among large ones meets its input as its value`(
            level: Processor
        ) throws {
            let (outputs, inputs) = (256, 131)
            func code(_ output: Int, _ input: Int) -> UInt8 {
                if input % 16 == 5 { return UInt8(output) }
                return UInt8(8 + (output + input) % 119) | UInt8(input % 2 * 128)
            }
            let bytes = (0 ..< outputs * inputs).map { code($0 / inputs, $0 % inputs) }
            let format = NumberFormat.float8e4m3
            let scales = (0 ..< format.scaleCount(outputs: outputs, inputs: inputs))
                .flatMap { _ in littleEndian(Float(1).bitPattern) }
            let weight = try Weight(
                format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.raw,
                scales: scales.span.raw)
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 13, 61] {
                let x = Tensor(rows: rows, columns: inputs)
                func input(_ row: Int) -> Int {
                    row % 2 == 0 ? row % 8 * 16 + 5 : row * 37 % inputs
                }
                for row in 0 ..< rows { x[row, input(row)] = 1 }
                let y = Tensor(rows: rows, columns: outputs)
                at(level) { linear(x, weight, into: y, compute: .bfloat16, pool: pool) }
                for row in 0 ..< rows {
                    let wrong = (0 ..< outputs).first { output in
                        // A weight that is no number leaves none of its output's sums one.
                        if output % 128 == 127 { return !y[row, output].isNaN }
                        return y[row, output] != Quantisation.float8(code(output, input(row)))
                    }
                    #expect(wrong == nil, "\(rows) rows, row \(row)")
                }
            }
        }

        /// The sums of int8 products are integers, so no level may differ from the plain one.
        @Test(arguments: levels)
        func `an int8 product has the plain path's bits at every level`(level: Processor) throws {
            var random = Random(seed: 4)
            for (rows, outputs, inputs) in [
                (1, 64, 128), (3, 100, 77), (8, 200, 300), (29, 7, 513), (70, 130, 1000),
            ] {
                let matrix = Matrix(.int8, outputs, inputs, &random)
                let x = random.tensor(rows, inputs)
                // Blocks of every size of number; one of zeros; one that is too small to divide by.
                for i in 0 ..< inputs where i / 128 % 2 == 1 { x[0, i] *= 1e-20 }
                if rows == 3 { for i in 0 ..< inputs { x[2, i] = 0 } }
                if rows == 8 { for i in 0 ..< 128 { x[2, i] *= 1e-36 } }
                func product(_ level: Processor) throws -> Tensor {
                    try at(level) {
                        let y = Tensor(rows: rows, columns: outputs)
                        linear(
                            x, try matrix.weight(), into: y, compute: .bfloat16, pool: pool)
                        return y
                    }
                }
                let (plain, fast) = (try product(.portable), try product(level))
                for row in 0 ..< rows { #expect(bits(plain, row) == bits(fast, row)) }
            }
        }

        @Test(arguments: levels, [Float.nan, .infinity])
        func `an int8 product of a row that is not finite is NaN, and no other row is`(
            level: Processor, value: Float
        ) throws {
            var random = Random(seed: 6)
            let weight = try Matrix(.int8, 70, 200, &random).weight()
            let x = random.tensor(9, 200)
            x[4, 150] = value
            let y = Tensor(rows: 9, columns: 70)
            at(level) { linear(x, weight, into: y, compute: .bfloat16, pool: pool) }
            for row in 0 ..< 9 {
                #expect((0 ..< 70).allSatisfy { y[row, $0].isNaN == (row == 4) }, "row \(row)")
            }
        }

        /// One row alone, then in random batches, chunks and pools: the same bits.
        @Test(arguments: levels, raggedFormats)
        func `a row's bits do not depend on its batch or the threads`(
            level: Processor, format: NumberFormat
        ) throws {
            try at(level) {
                let seed: UInt64 = 7
                var random = Random(seed: seed)
                let pools = [1, 2, 3].map { ThreadPool(threads: $0) }
                for (outputs, inputs) in [(130, 700), (64, 96), (200, 260)] {
                    let weight = try Matrix(format, outputs, inputs, &random).weight()
                    let x = random.tensor(400, inputs)
                    for compute in Compute.allCases {
                        func product(_ rows: Range<Int>, _ pool: ThreadPool) -> Tensor {
                            let y = Tensor(rows: rows.count, columns: outputs)
                            linear(
                                x.view(rows: rows), weight, into: y, compute: compute, pool: pool)
                            return y
                        }
                        for _ in 0 ..< 12 {
                            let first = Int.random(in: 0 ..< x.rows, using: &random)
                            let end = Int.random(in: first + 1 ... x.rows, using: &random)
                            let batch = product(
                                first ..< end, pools.randomElement(using: &random)!)
                            for row in [first, (first + end) / 2, end - 1] {
                                let alone = product(row ..< row + 1, pools[0])
                                let same = bits(batch, row - first) == bits(alone, 0)
                                #expect(same, "row \(row) of \(first)..<\(end), seed \(seed)")
                            }
                        }
                    }
                }
            }
        }

        @Test(arguments: levels, raggedFormats)
        func `an expert layer is gate, up, swiglu and down`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 5)
            let (hidden, intermediate) = (96, 72)
            let experts = try (0 ..< 3).map { _ in
                ExpertWeights(
                    gate: try Matrix(format, intermediate, hidden, &random).weight(),
                    up: try Matrix(format, intermediate, hidden, &random).weight(),
                    down: try Matrix(format, hidden, intermediate, &random).weight())
            }
            // The last expert has few rows, or so many that inputs lie as tiles.
            for (offsets, compute) in [[0, 1, 1, 14], [0, 1, 1, 72]].flatMap({ offsets in
                Compute.allCases.map { (offsets, $0) }
            }) {
                let count = offsets[3]
                let x = random.tensor(count, hidden)
                at(level) {
                    let y = Tensor(rows: count, columns: hidden)
                    expertLayer(
                        x, offsets: offsets, experts: experts, into: y, compute: compute,
                        pool: pool)
                    let gate = Tensor(rows: count, columns: intermediate)
                    let up = Tensor(rows: count, columns: intermediate)
                    let expected = Tensor(rows: count, columns: hidden)
                    func grouped(_ x: Tensor, _ weights: [Weight], _ y: Tensor) {
                        linear(
                            weights.indices.map {
                                LinearPart(
                                    x, weights[$0], into: y,
                                    rows: offsets[$0] ..< offsets[$0 + 1])
                            }, compute: compute, pool: pool)
                    }
                    grouped(x, experts.map(\.gate), gate)
                    grouped(x, experts.map(\.up), up)
                    swiglu(gate, up, into: gate, pool: pool)
                    grouped(gate, experts.map(\.down), expected)
                    let same = y.values == expected.values
                    #expect(same)
                }
            }
        }

        /// Whatever the formats of its parts ask of their inputs, a row of many is the row alone.
        @Test(arguments: levels, raggedFormats)
        func `an expert may have gate, up and down of unlike formats`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 8)
            let x = random.tensor(66, 96)
            for other in [NumberFormat.float32, .bfloat16, .int8] {
                let expert = ExpertWeights(
                    gate: try Matrix(format, 64, 96, &random).weight(),
                    up: try Matrix(other, 64, 96, &random).weight(),
                    down: try Matrix(format, 96, 64, &random).weight())
                for compute in Compute.allCases {
                    func layer(_ rows: Range<Int>) -> Tensor {
                        let y = Tensor(rows: rows.count, columns: 96)
                        expertLayer(
                            x.view(rows: rows), offsets: [0, rows.count], experts: [expert],
                            into: y, compute: compute, pool: pool)
                        return y
                    }
                    at(level) {
                        let all = layer(0 ..< 66)
                        for row in [0, 5, 65] {
                            let same = bits(all, row) == bits(layer(row ..< row + 1), 0)
                            #expect(same, "up in \(other), \(compute), row \(row)")
                        }
                    }
                }
            }
        }

        @Test(arguments: levels, NumberFormat.packed)
        func `outputs that are cut at panels have the bits of the whole product`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 15)
            let (outputs, inputs) = (300, 256)
            let weight = try Matrix(format, outputs, inputs, &random).weight()
            for (rows, compute) in [1, 3, 32].flatMap({ rows in
                Compute.allCases.map { (rows, $0) }
            }) {
                let x = random.tensor(rows, inputs)
                at(level) {
                    let whole = Tensor(rows: rows, columns: outputs)
                    linear(x, weight, into: whole, compute: compute, pool: pool)
                    let cut = Tensor(rows: rows, columns: outputs)
                    for part in [128 ..< 300, 0 ..< 64, 64 ..< 128] {
                        linear(
                            [
                                LinearPart(
                                    x, column: 0, weight, outputs: part, into: cut,
                                    column: part.lowerBound)
                            ], compute: compute, pool: pool)
                    }
                    #expect(cut.values == whole.values, "\(rows) rows, \(compute)")
                }
            }
        }

        @Test(arguments: levels, NumberFormat.packed)
        func `hidden values computed in parts, then down, have the bits of an expert layer`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 16)
            let (hidden, intermediate) = (128, 192)
            let expert = ExpertWeights(
                gate: try Matrix(format, intermediate, hidden, &random).weight(),
                up: try Matrix(format, intermediate, hidden, &random).weight(),
                down: try Matrix(format, hidden, intermediate, &random).weight())
            #expect(expert.canBeCut)
            for (rows, compute) in [1, 3, 32].flatMap({ rows in
                Compute.allCases.map { (rows, $0) }
            }) {
                let x = random.tensor(rows, hidden)
                at(level) {
                    let whole = Tensor(rows: rows, columns: hidden)
                    expertLayer(x, expert, into: whole, compute: compute, pool: pool)
                    let values = Tensor(rows: rows, columns: intermediate)
                    for part in [64 ..< 192, 0 ..< 64] {
                        hiddenValues(
                            part, of: expert, x, into: values, column: part.lowerBound,
                            compute: compute, pool: pool)
                    }
                    let cut = Tensor(rows: rows, columns: hidden)
                    linear(values, expert.down, into: cut, compute: compute, pool: pool)
                    #expect(cut.values == whole.values, "\(rows) rows, \(compute)")
                }
            }
        }

        @Test func `products with strided heads read and write their own columns`() throws {
            var random = Random(seed: 9)
            let matrices = (0 ..< 3).map { _ in Matrix(.bfloat16, 20, 16, &random) }
            let weights = try matrices.map { try $0.weight() }
            let x = random.tensor(5, 3 * 24)
            let y = Tensor(rows: 5, columns: 3 * 32)
            y.fill(-1)
            linear(
                weights.indices.map {
                    LinearPart(x, column: $0 * 24 + 8, weights[$0], into: y, column: $0 * 32)
                }, compute: .float32, pool: pool)
            for (row, head) in [(0, 0), (3, 1), (4, 2)] {
                for output in 0 ..< 20 {
                    let sum = (0 ..< 16).reduce(0.0) {
                        $0 + Double(x[row, head * 24 + 8 + $1])
                            * matrices[head].value(output, $1)
                    }
                    #expect(abs(Double(y[row, head * 32 + output]) - sum) < bound(16, 16))
                }
                #expect(y[row, head * 32 + 20] == -1)
            }
        }
    }
}

func bits(_ tensor: Tensor, _ row: Int) -> [UInt32] {
    (0 ..< tensor.columns).map { tensor[row, $0].bitPattern }
}
