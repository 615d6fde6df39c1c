import Tensors
import Testing

/// Every test of this room.
///
/// Serialised, because some set the level of instructions, which is the
/// process's.
@Suite(.serialized) enum TensorsTests {}

/// SplitMix64: a seed is the whole state, so a failure reruns from the seed its name prints.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func values(_ count: Int, in range: ClosedRange<Float> = -1 ... 1) -> [Float] {
        (0 ..< count).map { _ in Float.random(in: range, using: &self) }
    }

    mutating func tensor(_ rows: Int, _ columns: Int) -> Tensor {
        Tensor(rows: rows, columns: columns, values: values(rows * columns))
    }
}

/// The levels that this CPU has, plain first.
let levels = Processor.allCases.filter { $0 <= Processor.best }

/// The packed formats whose matrices may have any number of inputs.
let raggedFormats = NumberFormat.packed.filter { $0.inputMultiple == 1 }

/// Runs `body` at a level and returns to the CPU's best.
func at<Result>(_ level: Processor, _ body: () throws -> Result) rethrows -> Result {
    level.use()
    defer { Processor.best.use() }
    return try body()
}

/// A random matrix in a checkpoint's bytes.
struct Matrix {
    let format: NumberFormat
    let outputs: Int
    let inputs: Int
    let bytes: [UInt8]
    let scales: [UInt8]
    let scaleFormat: ScaleFormat

    /// - Parameter scaleFormat: Of int4; the others have one.
    init(
        _ format: NumberFormat, _ outputs: Int, _ inputs: Int, _ random: inout Random,
        scales scaleFormat: ScaleFormat = .bfloat16
    ) {
        self.format = format
        self.scaleFormat =
            format == .int4 ? scaleFormat : format == .mxfp4 ? .float8e8m0 : .float32
        self.outputs = outputs
        self.inputs = inputs
        let isFourBit = format == .int4 || format == .mxfp4
        let values = random.values(isFourBit ? outputs * inputs / 2 : outputs * inputs)
        bytes = values.flatMap { value -> [UInt8] in
            switch format {
            case .float32: littleEndian(value.bitPattern)
            case .bfloat16: littleEndian(Quantisation.bfloat16(nearest: value))
            case .float8e4m3: [Quantisation.float8(nearest: value * 448)]
            case .int8: [UInt8(bitPattern: Int8((value * 127).rounded()))]
            case .float16: littleEndian(Float16(value).bitPattern)
            // Two codes, drawn evenly.
            case .int4, .mxfp4: [UInt8(((value + 1) * 127.5).rounded())]
            }
        }
        let count = format.scaleCount(outputs: outputs, inputs: inputs)
        let kept = self.scaleFormat
        scales = random.values(count, in: 0.001 ... 0.004).flatMap { value -> [UInt8] in
            switch kept {
            case .float32: littleEndian(value.bitPattern)
            case .bfloat16: littleEndian(Quantisation.bfloat16(nearest: value))
            case .float16: littleEndian(Float16(value).bitPattern)
            case .float8e8m0: [UInt8(118 + value * 1000)]
            }
        }
    }

    func weight(rows: Range<Int>? = nil, transposed: Bool = false) throws -> Weight {
        try Weight(
            format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.raw,
            scales: scales.isEmpty ? nil : scales.span.raw, scaleFormat: scaleFormat, rows: rows,
            transposed: transposed)
    }

    /// The value that the bytes stand for, worked out without the kernels' packing.
    func value(_ output: Int, _ input: Int) -> Double {
        let index = output * inputs + input
        switch format {
        case .float32:
            return Double(Float(bitPattern: word(bytes, index)))
        case .bfloat16:
            let pattern = UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8
            return Double(Quantisation.bfloat16(pattern))
        case .float8e4m3:
            let block = output / 128 * ((inputs + 127) / 128) + input / 128
            let scale = Float(bitPattern: word(scales, block))
            return Double(Quantisation.float8(bytes[index]) * scale)
        case .int8:
            let scale = Float(bitPattern: word(scales, output))
            return Double(Float(Int8(bitPattern: bytes[index])) * scale)
        case .float16:
            let pattern = UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8
            return Double(Float16(bitPattern: pattern))
        case .int4:
            return Double(Float(code(index) - 8) * groupScale(output, input))
        case .mxfp4:
            // Sign, two bits of exponent with bias 1, one of fraction.
            let (exponent, fraction) = (code(index) >> 1 & 3, Float(code(index) & 1))
            let magnitude =
                exponent == 0 ? fraction / 2 : (1 + fraction / 2) * Float(1 << (exponent - 1))
            return Double((code(index) > 7 ? -magnitude : magnitude) * groupScale(output, input))
        }
    }

    /// The even input of a byte is its lower nibble.
    private func code(_ index: Int) -> Int {
        Int(bytes[index / 2] >> (index % 2 == 0 ? 0 : 4) & 0xf)
    }

    private func groupScale(_ output: Int, _ input: Int) -> Float {
        let index = output * (inputs / 32) + input / 32
        func half() -> UInt16 { UInt16(scales[2 * index]) | UInt16(scales[2 * index + 1]) << 8 }
        switch scaleFormat {
        case .float32: return Float(bitPattern: word(scales, index))
        case .bfloat16: return Float(bitPattern: UInt32(half()) << 16)
        case .float16: return Float(Float16(bitPattern: half()))
        case .float8e8m0:
            return Float(sign: .plus, exponent: Int(scales[index]) - 127, significand: 1)
        }
    }

    private func word(_ bytes: [UInt8], _ index: Int) -> UInt32 {
        (0 ..< 4).reduce(0) { $0 | UInt32(bytes[4 * index + $1]) << (8 * UInt32($1)) }
    }
}

func littleEndian<Integer: FixedWidthInteger>(_ value: Integer) -> [UInt8] {
    (0 ..< Integer.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> Integer($0 * 8)) }
}

/// A row as a product with a weight of this format takes it: rounded to bf16, or to int8 in blocks
/// of 128 whose largest magnitude becomes 127.
func rounded(_ row: [Float], for compute: Compute, _ format: NumberFormat) -> [Double] {
    guard compute == .bfloat16 else { return row.map(Double.init) }
    guard format == .int8 else {
        return row.map { Double(Quantisation.bfloat16(Quantisation.bfloat16(nearest: $0))) }
    }
    return stride(from: 0, to: row.count, by: 128).flatMap { first -> [Double] in
        let block = row[first ..< min(first + 128, row.count)]
        let largest = block.map(abs).max()!
        return block.map {
            Double(($0 * (127 / largest)).rounded(.toNearestOrEven)) * Double(largest / 127)
        }
    }
}

/// The error that summing `count` products in f32, in any order, cannot exceed: each of the sums
/// and products rounds by at most 2^-24, and a pairwise dot product may round once more.
func bound(_ count: Int, _ magnitude: Double) -> Double {
    Double(2 * count + 16) * 0x1p-24 * magnitude + 1e-30
}
