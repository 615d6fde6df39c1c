import Encoding
import Foundation
import Testing

@testable import Models

@Suite struct QuantizationKeysTests {
    /// What is said of a description of quantised weights, `accepted` if nothing.
    private func verdict(_ text: String, key: String = "quantization_config") throws -> String {
        var members = try #require(JSONValue.parse(Array(ConvertTests.small.utf8)).object)
        members.append((key, try JSONValue.parse(Array(text.utf8))))
        do {
            _ = try ModelConfiguration.parse(
                Data(JSONValue.object(members).encoded().utf8), file: "c")
            return "accepted"
        } catch { return "\(error)" }
    }

    private func compressed(_ format: String, _ weights: String, _ more: String = "") -> String {
        """
        {"quant_method": "compressed-tensors", "format": "\(format)", "ignore": ["lm_head"],
         "config_groups": {"group_0": {"targets": ["Linear"], "weights": {\(weights)}}}\(more)}
        """
    }

    private let block =
        #""num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]"#

    @Test func `e4m3 with scales per block is taken in either's words`() throws {
        for scale in ["", #", "scale_fmt": "ue8m0""#, #", "modules_to_not_convert": ["lm_head"]"#] {
            let text = #"{"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]"#
            #expect(try verdict(text + scale + "}") == "accepted")
        }
        #expect(try verdict(compressed("float-quantized", block)) == "accepted")
        let key = "compression_config"
        #expect(try verdict(compressed("float-quantized", block), key: key) == "accepted")
        #expect(try verdict("null") == "accepted")
    }

    @Test(arguments: [
        (
            #"{"quant_method": "awq", "bits": 4, "group_size": 128}"#,
            "awq 4-bit in groups of 128 is"
        ),
        (#"{"quant_method": "gptq", "bits": 4}"#, "gptq 4-bit is not taken"),
        (#"{"quant_method": "modelopt", "quant_algo": "NVFP4"}"#, "modelopt NVFP4 is not taken"),
        (#"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#, "bitsandbytes 4-bit is not"),
        (
            #"{"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}}"#,
            "quark fp4 is not taken"
        ),
        (#"{"quant_method": "blockwise_int8"}"#, "blockwise_int8 is not taken"),
        (#"{"quant_method": "w8a8_int8"}"#, "w8a8_int8 is not taken"),
        (#"{"quant_method": "fp8"}"#, "weight_block_size: is missing, which means one scale per"),
        (
            #"{"quant_method": "fp8", "weight_block_size": [1, 128]}"#,
            "weight_block_size: [1,128] is not taken"
        ),
        (
            #"{"quant_method": "fp8", "fmt": "e5m2", "weight_block_size": [128, 128]}"#,
            #"fmt: "e5m2" is not taken"#
        ),
        (
            #"{"quant_method": "fp8", "scale_fmt": "e5m3", "weight_block_size": [128, 128]}"#,
            #"scale_fmt: "e5m3" is not taken"#
        ),
        (#"{"bits": 4}"#, "quantization_config.quant_method: is missing"),
        (#""fp8""#, #"quantization_config: "fp8" is not taken"#),
    ])
    func `other methods are refused by their names, with what is taken`(
        text: String, fact: String
    ) throws {
        let line = try verdict(text)
        #expect(line.hasPrefix("c: quantization_config") && line.contains(fact), "\(line)")
        #expect(line.contains(QuantizationKeys.taken), "\(line)")
    }

    @Test func `other forms of compressed-tensors are refused by their numbers`() throws {
        let channel = #""num_bits": 8, "type": "float", "strategy": "channel""#
        #expect(
            try verdict(compressed("float-quantized", channel)).contains(
                "compressed-tensors float-quantized 8-bit float channel is not taken"))
        let sparse = #", "sparsity_config": {"format": "sparse-24-bitmask"}"#
        #expect(
            try verdict(compressed("float-quantized", block, sparse)).contains(
                "c: quantization_config.sparsity_config: "))
        #expect(
            try verdict(#"{"group_size": 64, "bits": 4}"#, key: "quantization").contains(
                "c: quantization: {"))
    }
}
