import Foundation
import Tensors
import Testing

extension TensorsTests {
    @Suite struct FourBitTests {
        /// Each way in which a weight of 4 bits is packed.
        enum Kind: CaseIterable {
            case int4, int4WithHalfScales, int4WithWideScales, mxfp4

            func matrix(_ outputs: Int, _ inputs: Int, _ random: inout Random) -> Matrix {
                let format: NumberFormat = self == .mxfp4 ? .mxfp4 : .int4
                let scales: ScaleFormat =
                    switch self {
                    case .int4: .bfloat16
                    case .int4WithHalfScales: .float16
                    case .int4WithWideScales: .float32
                    case .mxfp4: .float8e8m0
                    }
                return Matrix(format, outputs, inputs, &random, scales: scales)
            }
        }

        let pool = ThreadPool(threads: 2)

        @Test(arguments: levels, Kind.allCases)
        func `a product equals the sum in double precision`(level: Processor, kind: Kind) throws {
            var random = Random(seed: 1)
            for (rows, outputs, inputs) in [
                (1, 64, 128), (2, 70, 64), (3, 100, 96), (8, 200, 288), (29, 7, 512),
            ] {
                let matrix = kind.matrix(outputs, inputs, &random)
                let weight = try matrix.weight()
                let x = random.tensor(rows, inputs)
                for compute in Compute.allCases {
                    let y = Tensor(rows: rows, columns: outputs)
                    at(level) { linear(x, weight, into: y, compute: compute, pool: pool) }
                    let wrong = (0 ..< rows * outputs).first {
                        !isSum(y, $0 / outputs, $0 % outputs, x, matrix, compute)
                    }
                    #expect(wrong == nil, "\(rows) rows of \(outputs)x\(inputs), \(compute)")
                }
            }
        }

        private func isSum(
            _ y: Tensor, _ row: Int, _ output: Int, _ x: Tensor, _ matrix: Matrix,
            _ compute: Compute
        ) -> Bool {
            let inputs = rounded(
                (0 ..< x.columns).map { x[row, $0] }, for: compute, matrix.format)
            var sum = 0.0
            var magnitude = 0.0
            for i in 0 ..< x.columns {
                let product = inputs[i] * matrix.value(output, i)
                sum += product
                magnitude += abs(product)
            }
            return abs(Double(y[row, output]) - sum) <= bound(x.columns, magnitude)
        }

        /// Output o has code o % 16 at every input, and a row takes one input alone. Rows enough
        /// for every way of cutting them.
        @Test(arguments: levels, [NumberFormat.int4, .mxfp4])
        func `every code meets its input as its value`(
            level: Processor, format: NumberFormat
        ) throws {
            let values: [Float] =
                format == .int4
                ? (0 ..< 16).map { Float($0 - 8) }
                // OCP Microscaling Formats 1.0, table 5.
                : [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
            let (outputs, inputs) = (80, 160)
            let bytes = (0 ..< outputs * inputs / 2).map { UInt8($0 / (inputs / 2) % 16 * 0x11) }
            let scales = (0 ..< outputs * inputs / 32).flatMap { index -> [UInt8] in
                // 2 in the third group, 1 elsewhere.
                let isThird = index % (inputs / 32) == 2
                return format == .int4
                    ? littleEndian(Float(isThird ? 2 : 1).bitPattern) : [isThird ? 128 : 127]
            }
            let weight = try Weight(
                format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.raw,
                scales: scales.span.raw, scaleFormat: format == .int4 ? .float32 : .float8e8m0)
            for rows in [1, 2, 3, 4, 5, 6, 8, 13, 40] {
                let x = Tensor(rows: rows, columns: inputs)
                for row in 0 ..< rows { x[row, (row * 37 + 69) % inputs] = 1 }
                let y = Tensor(rows: rows, columns: outputs)
                at(level) { linear(x, weight, into: y, compute: .bfloat16, pool: pool) }
                for row in 0 ..< rows {
                    let isThird = (row * 37 + 69) % inputs / 32 == 2
                    let wrong = (0 ..< outputs).first {
                        y[row, $0] != values[$0 % 16] * (isThird ? 2 : 1)
                    }
                    #expect(wrong == nil, "\(rows) rows, row \(row)")
                }
            }
        }

        @Test(arguments: levels, Kind.allCases)
        func `a row's bits do not depend on its batch or the threads`(
            level: Processor, kind: Kind
        ) throws {
            var random = Random(seed: 7)
            let pools = [1, 2, 3].map { ThreadPool(threads: $0) }
            let (outputs, inputs) = (200, 704)
            let weight = try kind.matrix(outputs, inputs, &random).weight()
            let x = random.tensor(400, inputs)
            for compute in Compute.allCases {
                func product(_ rows: Range<Int>, _ pool: ThreadPool) -> Tensor {
                    let y = Tensor(rows: rows.count, columns: outputs)
                    at(level) {
                        linear(x.view(rows: rows), weight, into: y, compute: compute, pool: pool)
                    }
                    return y
                }
                for _ in 0 ..< 12 {
                    let first = Int.random(in: 0 ..< x.rows, using: &random)
                    let end = Int.random(in: first + 1 ... min(first + 60, x.rows), using: &random)
                    let batch = product(first ..< end, pools.randomElement(using: &random)!)
                    for row in [first, (first + end) / 2, end - 1] {
                        let alone = product(row ..< row + 1, pools[0])
                        let same = (0 ..< outputs).allSatisfy {
                            batch[row - first, $0].bitPattern == alone[0, $0].bitPattern
                        }
                        #expect(same, "row \(row) of \(first)..<\(end)")
                    }
                }
            }
        }

        /// Also where only some of the three are in 4 bits, or gate and up read other inputs.
        @Test(
            arguments: levels,
            [
                [.int4, .int4, .int4], [.int4, .float8e4m3, .float8e4m3],
                [.float8e4m3, .int4, .float8e4m3], [.float8e4m3, .float8e4m3, .int4],
                [.float8e4m3, .float32, .bfloat16], [.bfloat16, .float32, .float8e4m3],
                [.float32, .bfloat16, .float32],
            ] as [[NumberFormat]])
        func `an expert layer is gate, up, swiglu and down`(
            level: Processor, formats: [NumberFormat]
        ) throws {
            var random = Random(seed: 5)
            let (hidden, intermediate) = (96, 160)
            let shapes = [(intermediate, hidden), (intermediate, hidden), (hidden, intermediate)]
            let experts = try (0 ..< 3).map { _ in
                let weights = try zip(formats, shapes).map { format, shape in
                    try Matrix(format, shape.0, shape.1, &random).weight()
                }
                return ExpertWeights(gate: weights[0], up: weights[1], down: weights[2])
            }
            let x = random.tensor(14, hidden)
            for compute in Compute.allCases {
                at(level) {
                    let y = Tensor(rows: 14, columns: hidden)
                    expertLayer(
                        x, offsets: [0, 1, 1, 14], experts: experts, into: y, compute: compute,
                        pool: pool)
                    let expected = Tensor(rows: 14, columns: hidden)
                    let limits = Tensor(rows: 14, columns: hidden)
                    for (expert, rows) in [(experts[0], 0 ..< 1), (experts[2], 1 ..< 14)] {
                        let input = x.view(rows: rows)
                        let gate = Tensor(rows: rows.count, columns: intermediate)
                        let up = Tensor(rows: rows.count, columns: intermediate)
                        linear(input, expert.gate, into: gate, compute: compute, pool: pool)
                        linear(input, expert.up, into: up, compute: compute, pool: pool)
                        swiglu(gate, up, into: gate, pool: pool)
                        linear(
                            gate, expert.down, into: expected.view(rows: rows), compute: compute,
                            pool: pool)
                        setLimits(limits, rows, gate, expert.down.widened(), compute)
                    }
                    for row in 0 ..< 14 {
                        for column in 0 ..< hidden {
                            let limit =
                                limits[row, column] + 1e-5 * max(1, abs(expected[row, column]))
                            #expect(abs(y[row, column] - expected[row, column]) <= limit)
                        }
                    }
                }
            }
        }

        /// Widths that no panel divides, and some rows and many.
        @Test(arguments: levels, [NumberFormat.float32, .bfloat16, .mxfp4])
        func `an expert adds its biases and clamps its activation`(
            level: Processor, format: NumberFormat
        ) throws {
            var random = Random(seed: 71)
            let (hidden, width, rows) = (96, 160, 33)
            let gate = try Matrix(format, width, hidden, &random).weight()
            let up = try Matrix(format, width, hidden, &random).weight()
            let down = try Matrix(format, hidden, width, &random).weight()
            let biases = (0 ..< 3).map { random.values($0 == 2 ? hidden : width) }
            let (alpha, limit) = (1.702, 0.75)
            let expert = ExpertWeights(
                gate: gate, up: up, down: down,
                biases: ExpertBiases(gate: biases[0], up: biases[1], down: biases[2]),
                activation: ClampedSwiGLU(alpha: Float(alpha), limit: Float(limit)))
            let (x, y) = (random.tensor(rows, hidden), Tensor(rows: rows, columns: hidden))
            at(level) {
                expertLayer(
                    x.view(rows: 0 ..< 2), expert, into: y.view(rows: 0 ..< 2), compute: .float32,
                    pool: ThreadPool(threads: 2))
                expertLayer(
                    x.view(rows: 2 ..< rows), expert, into: y.view(rows: 2 ..< rows),
                    compute: .float32, pool: ThreadPool(threads: 2))
            }
            func product(_ weight: Weight, _ bias: [Float], _ input: [Double]) -> [Double] {
                let wide = weight.widened()
                return (0 ..< weight.outputs).map { output in
                    input.indices.reduce(Double(bias[output])) {
                        $0 + input[$1] * Double(wide[output, $1])
                    }
                }
            }
            var clamped = 0
            for row in 0 ..< rows {
                let input = (0 ..< hidden).map { Double(x[row, $0]) }
                let (gates, ups) = (
                    product(gate, biases[0], input), product(up, biases[1], input)
                )
                let values = zip(gates, ups).map { gate, up in
                    if gate > limit || abs(up) > limit { clamped += 1 }
                    let g = min(gate, limit)
                    return g / (1 + exp(-alpha * g)) * (max(-limit, min(up, limit)) + 1)
                }
                for (column, wanted) in product(down, biases[2], values).enumerated() {
                    // Sums of 96 and 160 products, whose roundings a clamp does not enlarge.
                    #expect(abs(Double(y[row, column]) - wanted) < 1e-4 * max(1, abs(wanted)))
                }
            }
            #expect(clamped > 0 && clamped < rows * width)
        }

        /// How far bf16 hidden values may move outputs: gate and up of two formats are summed by
        /// other loops than each alone, so a hidden value beside the middle of two bf16 numbers may
        /// be rounded to the other one. No other value moves any output.
        private func setLimits(
            _ limits: Tensor, _ rows: Range<Int>, _ hidden: Tensor, _ down: Tensor,
            _ compute: Compute
        ) {
            for (index, row) in rows.enumerated() {
                for output in 0 ..< down.rows {
                    let sum = (0 ..< down.columns).reduce(Float(0)) {
                        $0 + step(hidden[index, $1]) * abs(down[output, $1])
                    }
                    limits[row, output] = compute == .bfloat16 ? sum : 0
                }
            }
        }

        /// The distance of the bf16 numbers that a sum near this one may be rounded to.
        private func step(_ hidden: Float) -> Float {
            let difference = 1e-5 * max(1, abs(hidden))
            let ends = [hidden - difference, hidden + difference].map {
                Quantisation.bfloat16(Quantisation.bfloat16(nearest: $0))
            }
            return ends[1] - ends[0]
        }

        @Test(arguments: levels, Kind.allCases)
        func `pieces packed from a file hold its values, and a cut those of its rows`(
            level: Processor, kind: Kind
        ) throws {
            var random = Random(seed: 9)
            let matrix = kind.matrix(1100, 4096, &random)
            let path = FileManager.default.temporaryDirectory
                .appending(path: "four-bits-\(UUID().uuidString)").path
            let sink = try FileSink(path: path)
            try sink.append([1, 2, 3] + matrix.bytes + [4] + matrix.scales)
            defer { try? FileManager.default.removeItem(atPath: path) }
            let file = try MappedFile(path: path)
            let end = 3 + matrix.bytes.count
            let cuts: [(Range<Int>?, Bool)] = [(nil, false), (77 ..< 300, false), (5 ..< 7, true)]
            for (rows, transposed) in cuts {
                let packing = try WeightPacking(
                    file, bytes: 3 ..< end, format: matrix.format, outputs: 1100, inputs: 4096,
                    storedScales: StoredScales(
                        file, bytes: end + 1 ..< end + 1 + matrix.scales.count,
                        format: matrix.scaleFormat),
                    rows: rows, transposed: transposed)
                try at(level) {
                    for piece in 0 ..< packing.pieceCount {
                        try packing.pack(piece, pool: pool, thread: 0)
                    }
                }
                let weight = packing.weight
                let wrong = matrix.differences(from: weight, rows: rows, transposed: transposed)
                #expect(wrong == 0)
                guard !transposed, matrix.scaleFormat != .float32, kind != .int4WithHalfScales
                else { continue }
                let padded = ((rows?.count ?? 1100) + 63) / 64 * 64
                #expect(weight.byteCount == padded * 4096 * 9 / 16, "4.5 bits a number")
            }
        }

        @Test(arguments: [(Float(0), 5), (.nan, 9), (.infinity, 11)])
        func `a scale that is zero or not finite is refused by its place`(
            scale: Float, index: Int
        ) throws {
            var scales = [Float](repeating: 1, count: 6 * 2)
            scales[index] = scale
            scales[11] = index == 5 ? .nan : scales[11]
            let bytes = [UInt8](repeating: 0, count: 6 * 32)
            for transposed in [false, true] {
                #expect(throws: TensorError.scale(output: index / 2, group: index % 2)) {
                    try Weight(
                        format: .int4, outputs: 6, inputs: 64, bytes: bytes.span.raw,
                        scales: scales.flatMap { littleEndian($0.bitPattern) }.span.raw,
                        transposed: transposed)
                }
            }
            #expect(throws: TensorError.groups(inputs: 48, size: 32)) {
                try Weight(format: .int4, outputs: 8, inputs: 48, bytes: bytes.span.raw)
            }
        }
    }
}
