import Tensors
import Testing

extension TensorsTests {
    @Suite struct EncodedRowsTests {
        /// What e4m3 makes of 128 values over max|x| / 448 (or the next power of two), value
        /// by value, by the conversion that FormatTests holds against PyTorch.
        static func expected(_ block: [Float], powerOfTwo: Bool) -> (codes: [UInt8], scale: Float) {
            let largest = block.map(abs).max() ?? 0
            var scale = largest > 0 ? largest / 448 : 1
            if powerOfTwo, largest > 0, scale.significand != 1 {
                scale = Float(sign: .plus, exponent: scale.exponent + 1, significand: 1)
            }
            return (block.map { Quantisation.float8(nearest: $0 / scale) }, scale)
        }

        static func encoded(_ block: [Float], from stored: RowCodec, powerOfTwo: Bool) -> [UInt8] {
            let codec = RowCodec.float8e4m3(powerOfTwo: powerOfTwo)
            let rows = EncodedRows(stored, rows: 1, columns: block.count)
            var row = rows.mutableRow(0)
            stored.encode(block.span, into: &row)
            var bytes = [UInt8](repeating: 0, count: codec.byteCount(columns: block.count))
            var span = bytes.mutableSpan
            var target = span.mutableRaw
            codec.encode(rows.row(0), as: stored, columns: block.count, into: &target)
            return bytes
        }

        func check(_ block: [Float], from stored: RowCodec) {
            for powerOfTwo in [false, true] {
                let (codes, scale) = Self.expected(block, powerOfTwo: powerOfTwo)
                let bytes = Self.encoded(block, from: stored, powerOfTwo: powerOfTwo)
                #expect(Array(bytes[..<128]) == codes, "largest \(block[0])")
                #expect(Array(bytes[128...]) == littleEndian(scale.bitPattern))
            }
        }

        @Test(arguments: levels)
        func `every bf16 mantissa under every maximum becomes its nearest e4m3`(level: Processor) {
            // The mantissas of maximum and value decide; 17 binades below the maximum all is zero.
            at(level) {
                for maximum in UInt32(0x3f80) ..< 0x4000 {
                    for first in stride(from: maximum - 18 * 128, through: maximum, by: 127) {
                        let block = (0 ..< 128).map { place -> Float in
                            let bits: UInt32 =
                                place == 0 ? maximum : min(first + UInt32(place) - 1, maximum)
                            let sign: UInt32 = place % 3 == 1 ? 0x8000_0000 : 0
                            return Float(bitPattern: bits << 16 | sign)
                        }
                        check(block, from: .bfloat16)
                    }
                }
            }
        }

        @Test(arguments: levels, [UInt64(1), 2])
        func `values at and beside ties become their nearest e4m3`(level: Processor, seed: UInt64) {
            var random = Random(seed: seed)
            at(level) {
                for _ in 0 ..< 2000 {
                    let exponent = Int.random(in: -60 ... 60, using: &random)
                    let largest =
                        Float.random(in: 1 ..< 2, using: &random)
                        * Float(sign: .plus, exponent: exponent, significand: 1)
                    let scale = largest / 448
                    let block = (0 ..< 128).map { place -> Float in
                        if place == 0 { return largest }
                        let half = Int.random(in: 0 ..< 8, using: &random) * 2 + 17
                        let tie = Float(half) / 16
                        let power = Int.random(in: -11 ... 7, using: &random)
                        let value =
                            tie * Float(sign: .plus, exponent: power, significand: 1) * scale
                        let step = UInt32.random(in: 0 ..< 5, using: &random)
                        let beside = Float(bitPattern: value.bitPattern + step - 2)
                        return min(beside, largest) * (place % 2 == 0 ? 1 : -1)
                    }
                    check(block, from: .float32)
                }
            }
        }

        @Test(arguments: levels)
        func `zeros keep their sign, and NaN and infinity take the plain path`(level: Processor) {
            at(level) {
                let zeros = (0 ..< 128).map { $0 % 2 == 0 ? Float(0) : -0.0 }
                for stored in [RowCodec.float32, .bfloat16] {
                    check(zeros, from: stored)
                    for odd in [Float.nan, .infinity] {
                        var block = [Float](repeating: 1, count: 128)
                        block[5] = odd
                        let plain = Processor.allCases[0]
                        let bytes = Self.encoded(block, from: stored, powerOfTwo: false)
                        plain.use()
                        #expect(Self.encoded(block, from: stored, powerOfTwo: false) == bytes)
                        level.use()
                        #expect(bytes[5] & 0x7f == 0x7f || odd == .infinity)
                    }
                }
            }
        }

        @Test(arguments: levels, [64, 200])
        func `a sum that is written in bf16 is the f32 sum, rounded once`(
            level: Processor, columns: Int
        ) {
            var random = Random(seed: 9)
            at(level) {
                for count in 0 ... 8 {
                    let rows = EncodedRows(.bfloat16, rows: 8, columns: columns)
                    for row in 0 ..< 8 {
                        var bytes = rows.mutableRow(row)
                        RowCodec.bfloat16.encode(random.values(columns).span, into: &bytes)
                    }
                    let weights = random.values(8)
                    let sums = Tensor(rows: 1, columns: columns)
                    for row in 0 ..< count {
                        var into = sums.mutableRow(0)
                        RowCodec.bfloat16.accumulate(
                            rows.row(row), weight: weights[row], into: &into)
                    }
                    let sum = RowSum(.bfloat16, columns: columns, capacity: 8)
                    let expected = EncodedRows(.bfloat16, rows: 1, columns: columns)
                    var bytes = expected.mutableRow(0)
                    RowCodec.bfloat16.encode(sums.row(0), into: &bytes)
                    for isStreamed in [false, true] {
                        let written = EncodedRows(.bfloat16, rows: 1, columns: columns)
                        var garbage = written.mutableRow(0)
                        RowCodec.bfloat16.encode(random.values(columns).span, into: &garbage)
                        func borrow(_ row: Int, _ terms: [RowTerm]) {
                            if row < count {
                                return sum.withArea(rows.row(row)) { area in
                                    let weight = weights[row]
                                    let term = RowTerm(area: area, offset: 0, weight: weight)
                                    borrow(row + 1, terms + [term])
                                }
                            }
                            var target = written.mutableRow(0)
                            sum.write(terms, into: &target, as: .bfloat16, isStreamed: isStreamed)
                        }
                        borrow(0, [])
                        let isSame = written.row(0).holdsSameBytes(
                            at: 0, as: expected.row(0), at: 0, count: 2 * columns)
                        #expect(isSame)
                    }
                }
            }
        }
    }
}
