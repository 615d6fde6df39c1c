import Tensors
import Testing

@testable import Checkpoints

@Suite struct BlockScalesTests {
    /// A matrix `[200, 130]` in e4m3 with such scales.
    private func folder(
        _ suffix: String, _ type: StoredType, _ shape: [Int], _ bytes: [UInt8]? = nil
    ) throws -> CheckpointFolder {
        try CheckpointFolder(
            [
                OutputTensor(name: "w", type: .float8e4m3, shape: [200, 130]),
                OutputTensor(name: "w" + suffix, type: type, shape: shape),
            ], bytes: bytes.map { ["w" + suffix: $0] } ?? [:])
    }

    private func scales(_ folder: CheckpointFolder) throws -> [Float] {
        let checkpoint = try Checkpoint(directory: folder.path)
        return try BlockScales(of: checkpoint.locate("w"), in: checkpoint).values
    }

    @Test(arguments: ["_scale_inv", "_scale"])
    func `scales of every type and of either name are factors`(suffix: String) throws {
        // 1, 2, 0.5 and 0.25 in each type.
        let stored: [(StoredType, [UInt8])] = [
            (.float32, [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40, 0, 0, 0, 0x3F, 0, 0, 0x80, 0x3E]),
            (.bfloat16, [0x80, 0x3F, 0, 0x40, 0, 0x3F, 0x80, 0x3E]),
            (.float16, [0, 0x3C, 0, 0x40, 0, 0x38, 0, 0x34]),
            (.float8e8m0, [127, 128, 126, 125]),
        ]
        for (type, bytes) in stored {
            let folder = try folder(suffix, type, [2, 2], bytes)
            #expect(try scales(folder) == [1, 2, 0.5, 0.25], "\(type)")
        }
    }

    @Test func `a matrix without rows and with too many columns is refused`() throws {
        let folder = try CheckpointFolder(
            [OutputTensor(name: "w", type: .float8e4m3, shape: [0, 1 << 62])])
        let error = #expect(throws: CheckpointError.self) { try scales(folder) }
        #expect("\(error!)".contains("has a side above 2147483647"), "\(error!)")
    }

    @Test func `an E8M0 byte is a power of two, and 255 is no number`() {
        #expect(BlockScales.powerOfTwo(0) == 0x1p-127 && BlockScales.powerOfTwo(1) == 0x1p-126)
        #expect(BlockScales.powerOfTwo(254) == 0x1p127 && BlockScales.powerOfTwo(255).isNaN)
    }

    @Test(arguments: [
        ("_scale", StoredType.float32, [1], "shape [1], one scale for the tensor; taken is one"),
        ("_scale", .bfloat16, [200, 1], "shape [200, 1], one scale per row; taken is one scale"),
        ("_scale_inv", .float32, [200, 13], "one scale per 10 values of a row; taken is one"),
        (
            "_scale_inv", .float32, [2, 1],
            "shape [2, 1]; taken is one scale per block of 128 by 128"
        ),
        ("_scale_inv", .int32, [2, 2], "dtype I32 of scales is none of F32, BF16, F16, F8_E8M0"),
        ("_zero", .float32, [2, 2], "has no scales; the folder has w_zero; taken is one scale"),
    ])
    func `other scales are refused with what they are and what is taken`(
        suffix: String, type: StoredType, shape: [Int], fact: String
    ) throws {
        let folder = try folder(suffix, type, shape)
        let error = #expect(throws: CheckpointError.self) { try scales(folder) }
        #expect("\(error!)".contains(fact), "\(error!)")
    }
}
