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

    init(_ format: NumberFormat, _ outputs: Int, _ inputs: Int, _ random: inout Random) {
        self.format = format
        self.outputs = outputs
        self.inputs = inputs
        let values = random.values(outputs * inputs)
        bytes = values.flatMap { value -> [UInt8] in
            switch format {
            case .float32: littleEndian(value.bitPattern)
            case .bfloat16: littleEndian(Quantisation.bfloat16(nearest: value))
            case .float8e4m3: [Quantisation.float8(nearest: value * 448)]
            case .int8: [UInt8(bitPattern: Int8((value * 127).rounded()))]
            case .float16: littleEndian(Float16(value).bitPattern)
            }
        }
        let count = format.scaleCount(outputs: outputs, inputs: inputs)
        scales = random.values(count, in: 0.001 ... 0.004).flatMap { littleEndian($0.bitPattern) }
    }

    func weight(rows: Range<Int>? = nil, transposed: Bool = false) throws -> Weight {
        try Weight(
            format: format, outputs: outputs, inputs: inputs, bytes: bytes.span.raw,
            scales: scales.isEmpty ? nil : scales.span.raw, rows: rows, transposed: transposed)
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
