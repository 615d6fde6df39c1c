import Tensors
import Testing

@testable import Checkpoints

/// What a folder that cannot be read is told.
@Suite struct CheckpointTests {
    private let name = "model.layers.1.mlp.experts.0.up_proj.weight"

    @Test(arguments: [
        ([], "holds no weights; taken are model.safetensors"),
        (["pytorch_model.bin"], "holds pytorch_model.bin, PyTorch's pickle, which is not read"),
        (["model-Q4_K_M.gguf"], "holds model-Q4_K_M.gguf, llama.cpp's form, which is not read"),
        (["tf_model.h5"], "holds tf_model.h5, TensorFlow's form"),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            "holds 2 .safetensors files (model-00001-of-00002.safetensors) and no "
                + "model.safetensors.index.json"
        ),
        (["adapter_model.safetensors"], "an adapter without its base model"),
    ])
    func `a folder without readable weights is told what it holds`(
        files: [String], fact: String
    ) throws {
        let folder = try CheckpointFolder()
        for file in files { folder.add(file) }
        let error = #expect(throws: CheckpointError.self) {
            try Checkpoint(directory: folder.path)
        }
        #expect("\(error!)".contains(fact), "\(error!)")
        #expect(Checkpoint.holdsWeights(directory: folder.path) == !files.isEmpty)
    }

    @Test(arguments: [
        ("model.layers.1.mlp.experts.0.up_proj.qweight", "4-bit integers of AWQ or GPTQ"),
        ("model.layers.1.mlp.experts.gate_up_proj", "all experts in one tensor; taken is one"),
        (
            "base.model.layers.1.mlp.experts.0.up_proj.weight",
            "names are taken without the prefix base."
        ),
        (
            "layers.1.mlp.experts.0.up_proj.weight",
            "names are taken with the prefix model."
        ),
        ("tok_embeddings.weight", "no name in the folder begins with model., the first is tok_"),
        ("model.layers.1.mlp.experts.1.up_proj.weight", "up_proj.weight: is missing"),
    ])
    func `a tensor that is missing is told what stands there instead`(
        stored: String, fact: String
    ) throws {
        let folder = try CheckpointFolder([OutputTensor(name: stored, type: .uint8, shape: [1])])
        let error = #expect(throws: CheckpointError.self) {
            try Checkpoint(directory: folder.path).locate(name)
        }
        #expect("\(error!)".contains(fact), "\(error!)")
        #expect("\(error!)".hasPrefix("\(folder.path): tensor \(name): is missing"))
    }

    @Test(arguments: [
        (StoredType.int8, [64, 32], "dtype I8, quantised integers, is not taken; taken are F32"),
        (.uint8, [64, 16], "dtype U8 of shape [64, 16] for [64, 32], two 4-bit numbers in a byte"),
        (.int32, [4, 64], "dtype I32, quantised integers, is not taken"),
        (
            .float8e5m2, [64, 32],
            "dtype F8_E5M2 is not taken; taken are F32, F16, BF16, F8_E4M3 with"
        ),
        (.float64, [64, 32], "dtype F64 is not taken"),
        (.bfloat16, [32, 64], "shape [32, 64]; config.json makes it [64, 32]"),
    ])
    func `a matrix of another type is told its type before its shape`(
        type: StoredType, shape: [Int], fact: String
    ) throws {
        let folder = try CheckpointFolder([OutputTensor(name: "w", type: type, shape: shape)])
        let loader = WeightLoader(try Checkpoint(directory: folder.path))
        let error = #expect(throws: CheckpointError.self) {
            try loader.matrix("w", outputs: 64, inputs: 32)
        }
        #expect("\(error!)".contains(fact), "\(error!)")
    }

    @Test func `half precision is taken for matrices and vectors, exactly`() throws {
        // 1, -2, 0.5 and the least positive number.
        let bytes: [UInt8] = [0, 0x3C, 0, 0xC0, 0, 0x38, 1, 0]
        let folder = try CheckpointFolder(
            [
                OutputTensor(name: "m", type: .float16, shape: [2, 2]),
                OutputTensor(name: "v", type: .float16, shape: [4]),
            ], bytes: ["m": bytes, "v": bytes])
        let loader = WeightLoader(try Checkpoint(directory: folder.path))
        let slot = try loader.matrix("m", outputs: 2, inputs: 2)
        let expected: [Float] = [1, -2, 0.5, 0x1p-24]
        #expect(try loader.vector("v", count: 4).values == expected)
        try loader.load(pool: ThreadPool(threads: 1), progress: nil)
        #expect(slot.weight.widened().values == expected)
        #expect(slot.weight.format == .float32)
    }
}
