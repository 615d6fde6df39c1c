import Tensors
import Testing

@testable import Checkpoints

@Suite struct FourBitMatrixTests {
    /// What is stored of a matrix `[4, 64]` unless a test says otherwise.
    private static let whole: [OutputTensor] = OutputTensor.fourBit(
        name: "w.weight", shape: [4, 64], format: .int4)

    private static let ones = [UInt8](repeating: 0, count: 16).enumerated().map {
        // bf16 has 1 as 3f 80.
        $0.offset % 2 == 0 ? UInt8(0x80) : 0x3f
    }
    private static let shape: [UInt8] = [4, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0]

    /// Packs a matrix `[4, 64]` of a folder.
    private func load(_ tensors: [OutputTensor], _ bytes: [String: [UInt8]] = [:]) throws -> Tensor
    {
        let all = ["w.weight_scale": Self.ones, "w.weight_shape": Self.shape]
            .merging(bytes) { $1 }
            .filter { name, bytes in
                tensors.contains { $0.name == name && $0.byteCount == bytes.count }
            }
        let folder = try CheckpointFolder(tensors, bytes: all)
        let loader = WeightLoader(try Checkpoint(directory: folder.path))
        let slot = try loader.matrix("w.weight", outputs: 4, inputs: 64)
        try loader.load(pool: ThreadPool(threads: 2), progress: nil)
        #expect(slot.format == .int4 || slot.format == .mxfp4)
        return slot.weight.widened()
    }

    /// Replaces or adds tensors by their names.
    private func with(_ tensors: OutputTensor...) -> [OutputTensor] {
        Self.whole.filter { old in !tensors.contains { $0.name == old.name } } + tensors
    }

    @Test func `words hold eight numbers, the first in the lowest bits, each plus 8`() throws {
        // Row 1 begins with 0x98765432: numbers 2 - 8, 3 - 8 and so on.
        var codes = [UInt8](repeating: 0x88, count: 4 * 32)
        codes.replaceSubrange(32 ..< 36, with: [0x32, 0x54, 0x76, 0x98])
        // Scales of rows 0 to 3, two groups each; the first of row 1 is 0.5.
        var scales = Self.ones
        scales.replaceSubrange(4 ..< 6, with: [0x00, 0x3f])
        let wide = try load(
            Self.whole, ["w.weight_packed": codes, "w.weight_scale": scales])
        #expect((0 ..< 8).map { wide[1, $0] } == [-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5])
        #expect((0 ..< 64).allSatisfy { wide[0, $0] == 0 && wide[2, $0] == 0 })
    }

    @Test func `bytes of mxfp4 hold two codes of e2m1 in units of a power of two`() throws {
        let tensors = OutputTensor.fourBit(name: "w.weight", shape: [4, 64], format: .mxfp4)
        var codes = [UInt8](repeating: 0, count: 4 * 32)
        codes.replaceSubrange(32 ..< 36, with: [0x10, 0x32, 0x76, 0xf9])
        var scales = [UInt8](repeating: 127, count: 8)
        scales[2] = 128
        let wide = try load(
            tensors, ["w.weight_packed": codes, "w.weight_scale": scales])
        #expect((0 ..< 8).map { wide[1, $0] } == [0, 1, 2, 3, 8, 12, -1, -12])
    }

    @Test func `other layouts are refused with the tensor, the value and what is taken`() throws {
        func scale(_ type: StoredType, _ shape: [Int]) -> OutputTensor {
            OutputTensor(name: "w.weight_scale", type: type, shape: shape)
        }
        func codes(_ type: StoredType, _ shape: [Int]) -> OutputTensor {
            OutputTensor(name: "w.weight_packed", type: type, shape: shape)
        }
        func other(_ name: String, _ shape: [Int] = [4]) -> OutputTensor {
            OutputTensor(name: "w." + name, type: .int32, shape: shape)
        }
        let wrong: [([OutputTensor], String)] = [
            (
                with(scale(.bfloat16, [4, 1])),
                "[4, 1], one scale per 64 inputs; taken is one per 32"
            ),
            (
                with(scale(.bfloat16, [4, 4])),
                "shape [4, 4], one scale per 16 inputs; taken is one"
            ),
            (with(scale(.uint8, [4, 2])), "dtype U8 of scales of int4 is none of BF16, F16, F32"),
            (with(codes(.int32, [4, 4])), "shape [4, 4] of I32 is a matrix [4, 32]; config.json"),
            (
                with(codes(.int32, [0, 1 << 61])),
                "shape [0, 2305843009213693952] with 8 numbers per I32 has a side outside 1..."
            ),
            (with(codes(.int8, [4, 32])), "I8 of shape [4, 32] holds no matrix of 4-bit numbers"),
            (with(codes(.uint8, [4, 32])), "dtype BF16 of scales of mxfp4 is none of F8_E8M0, U8"),
            (with(other("weight_g_idx")), "weight_g_idx: an order of groups (actorder), is not"),
            (with(other("weight_zero_point")), "weight_zero_point: zero points of an asymmetric"),
            (with(other("weight_global_scale")), "the second scale of NVFP4, is not taken"),
            (with(other("weight", [4, 64])), "is stored twice, also as w.weight_packed"),
            (with(other("weight_shape", [3])), "I32 of shape [3]; taken are two of I32"),
            (Self.whole.filter { $0.name != "w.weight_scale" }, "weight_scale: is missing"),
        ]
        for (tensors, fact) in wrong {
            let error = #expect(throws: CheckpointError.self) { try load(tensors) }
            #expect("\(error!)".contains(fact), "\(error!)")
        }
        var shape = Self.shape
        shape[8] = 32
        let error = #expect(throws: CheckpointError.self) {
            try load(Self.whole, ["w.weight_shape": shape])
        }
        #expect("\(error!)".contains("weight_shape: is [4, 32]; config.json makes it [4, 64]"))
    }

    @Test(arguments: [([0x80, 0x7f], "inf"), ([0xc0, 0x7f], "nan"), ([0, 0], "0.0")])
    func `a scale that is no factor is refused by its place and value`(
        bytes: [UInt8], value: String
    ) throws {
        var scales = Self.ones
        scales.replaceSubrange(10 ..< 12, with: bytes)
        let error = #expect(throws: CheckpointError.self) {
            try load(Self.whole, ["w.weight_scale": scales])
        }
        #expect(
            "\(error!)".contains(
                "w.weight_scale: scale [2, 1] is \(value); a scale is finite and not zero"),
            "\(error!)")
        let tensors = OutputTensor.fourBit(name: "w.weight", shape: [4, 64], format: .mxfp4)
        let error2 = #expect(throws: CheckpointError.self) {
            try load(tensors, ["w.weight_scale": [127, 127, 127, 255, 127, 127, 127, 127]])
        }
        #expect("\(error2!)".contains("scale [1, 1] is nan"))
    }
}
