import Foundation
import Tensors
import Testing

extension TensorsTests {
    /// Against PyTorch's own casts: see Tests/Golden/make_float8.py.
    @Suite struct FormatTests {
        let lines: [[Substring]]

        init() throws {
            let file = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../Golden/float8.txt")
            lines = try String(contentsOf: file, encoding: .utf8)
                .split(separator: "\n").map { $0.split(separator: " ") }
        }

        @Test(arguments: levels)
        func `every e4m3 byte widens as in PyTorch`(level: Processor) {
            let decodes = lines.filter { $0[0] == "decode" }
            #expect(decodes.count == 254)
            at(level) {
                for line in decodes {
                    let value = Quantisation.float8(UInt8(line[1], radix: 16)!)
                    #expect(value.bitPattern == UInt32(line[2], radix: 16)!)
                    #expect(widened([UInt8(line[1], radix: 16)!])[0].bitPattern == value.bitPattern)
                }
            }
            #expect(Quantisation.float8(0x7f).isNaN && Quantisation.float8(0xff).isNaN)
        }

        @Test func `every half-precision pattern widens to its value`() {
            let patterns = (0 ... UInt16.max).map { $0 }
            let values = Quantisation.widened(patterns.flatMap(littleEndian), as: .float16)
            for (pattern, value) in zip(patterns, values) {
                let expected = Float(Float16(bitPattern: pattern))
                #expect(value.isNaN ? expected.isNaN : value.bitPattern == expected.bitPattern)
            }
        }

        @Test(arguments: levels)
        func `floats round to e4m3 as in PyTorch, ties and subnormals included`(
            level: Processor
        ) {
            let encodes = lines.filter { $0[0] == "encode" }
            #expect(encodes.count > 1000)
            at(level) {
                for line in encodes {
                    let value = Float(bitPattern: UInt32(line[1], radix: 16)!)
                    let byte = UInt8(line[2], radix: 16)!
                    #expect(Quantisation.float8(nearest: value) == byte, "\(value)")
                    // A second value of 448 makes the row's scale 1.
                    guard abs(value) <= 448 else { continue }
                    #expect(quantised([value, 448])[0] == byte, "\(value) in a row")
                }
            }
        }

        @Test(arguments: levels)
        func `a matrix quantises in ragged 128x128 blocks as in PyTorch`(level: Processor) {
            for start in lines.indices where lines[start][0] == "block" {
                let rows = Int(lines[start][1])!
                let columns = Int(lines[start][2])!
                let values = hexWords(lines[start + 1][0], digits: 4).map {
                    Float(bitPattern: $0 << 16)
                }
                let matrix = Tensor(rows: rows, columns: columns, values: values)
                let (bytes, scales) = at(level) { Quantisation.toFloat8(matrix) }
                #expect(bytes == hexWords(lines[start + 2][0], digits: 2).map { UInt8($0) })
                #expect(scales.map(\.bitPattern) == hexWords(lines[start + 3][0], digits: 8))
            }
        }

        @Test(arguments: levels)
        func `bf16 rounds to nearest even and keeps NaN and infinity`(level: Processor) {
            let cases: [(UInt32, UInt16)] = [
                (0x3f80_0000, 0x3f80), (0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82),
                (0x3f80_8001, 0x3f81), (0x7f80_0000, 0x7f80), (0x7f7f_ffff, 0x7f80),
                (0x7f80_0001, 0x7fc0), (0x8000_0000, 0x8000), (0x0000_8000, 0x0000),
                (0x0001_8000, 0x0002),
            ]
            at(level) {
                for (bits, expected) in cases {
                    let value = Float(bitPattern: bits)
                    #expect(Quantisation.bfloat16(nearest: value) == expected)
                    var bytes = [UInt8](repeating: 0, count: 2)
                    var span = bytes.mutableSpan
                    var target = span.mutableRaw
                    Quantisation.toBFloat16([value].span, into: &target)
                    #expect(bytes == littleEndian(expected))
                }
            }
        }

        @Test(arguments: [RowCodec.float32, .bfloat16, .float8e4m3(powerOfTwo: false)])
        func `an encoded row decodes near what it was, and accumulates the same`(codec: RowCodec) {
            var random = Random(seed: 4)
            let row = random.tensor(1, 300)
            var bytes = [UInt8](repeating: 0, count: 8 + codec.byteCount(columns: 300))
            var span = bytes.mutableSpan
            var target = span.mutableRaw
            codec.encode(row.row(0), into: &target, at: 8)
            let decoded = Tensor(rows: 1, columns: 300)
            var to = decoded.mutableRow(0)
            codec.decode(bytes.span.raw, at: 8, into: &to)
            let sum = Tensor(rows: 1, columns: 300)
            sum.fill(1)
            var into = sum.mutableRow(0)
            codec.accumulate(bytes.span.raw, at: 8, weight: 0.5, into: &into)
            // Half a unit in the last place: 4, 8 or 24 significant bits.
            let relative: Float =
                switch codec {
                case .float32: 0
                case .bfloat16: 0x1p-8
                case .float8e4m3: 0x1p-4
                }
            for i in 0 ..< 300 {
                // Below e4m3's smallest normal number the steps stay 2^-9 of the scale.
                let floor: Float = relative == 0x1p-4 ? 0x1p-10 / 448 : 0
                #expect(abs(decoded[0, i] - row[0, i]) <= max(relative * abs(row[0, i]), floor))
                #expect(sum[0, i] == 1 + 0.5 * decoded[0, i])
            }
        }

        @Test func `power-of-two scales are powers of two and nothing overflows`() {
            var random = Random(seed: 6)
            let matrix = random.tensor(40, 300)
            let (bytes, scales) = Quantisation.toFloat8(matrix, powerOfTwo: true)
            #expect(scales.allSatisfy { $0.significand == 1 })
            #expect(!bytes.contains { $0 & 0x7f == 0x7f })
            let wide = Tensor(rows: 40, columns: 300)
            Quantisation.fromFloat8(bytes.span.raw, scales: scales, into: wide)
            for i in 0 ..< 300 { #expect(abs(wide[3, i] - matrix[3, i]) <= 0.0625) }
        }

        private func widened(_ bytes: [UInt8]) -> [Float] {
            var values = [Float](repeating: 0, count: bytes.count)
            var target = values.mutableSpan
            Quantisation.widen(bytes.span.raw, as: .float8e4m3, into: &target)
            return values
        }

        private func quantised(_ values: [Float]) -> [UInt8] {
            Quantisation.toFloat8(Tensor(rows: 1, columns: values.count, values: values)).bytes
        }

        private func hexWords(_ text: Substring, digits: Int) -> [UInt32] {
            var words: [UInt32] = []
            var rest = text
            while !rest.isEmpty {
                words.append(UInt32(rest.prefix(digits), radix: 16)!)
                rest = rest.dropFirst(digits)
            }
            return words
        }
    }
}
