import Encoding
import Foundation
import TestSupport
import Testing

@testable import Models

@Suite struct ConfigurationKeysTests {
    static let page = URL(filePath: Golden.root).appending(
        path: "../../docs/reference/checkpoints.md")
    static let published = URL(filePath: Golden.root).appending(
        path: "published-configurations.json")

    /// What is said of a small configuration with some keys replaced, `accepted` if nothing.
    private func verdict(
        _ changes: [(String, JSONValue)], in text: [(String, JSONValue)]? = nil
    ) throws -> String {
        var members = try #require(JSONValue.parse(Array(ConvertTests.small.utf8)).object)
        func set(_ changes: [(String, JSONValue)]) {
            for (key, value) in changes {
                members.removeAll { $0.key == key }
                members.append((key, value))
            }
        }
        if let text {
            set(text)
            members = [("text_config", .object(members))]
        }
        set(changes)
        do {
            _ = try ModelConfiguration.parse(
                Data(JSONValue.object(members).encoded().utf8), file: "c")
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func `published configurations are taken, with their limits`() throws {
        let root = try JSONValue.parse(Array(Data(contentsOf: Self.published)))
        var limits: [String: Int] = [:]
        var parameters: [String: Int] = [:]
        for (name, value) in try #require(root.object) {
            let shape = try ModelConfiguration.parse(
                Data(value.encoded().utf8), file: name)
            limits[name] = shape.contextLimit
            if shape.indexer != nil || shape.window != nil {
                parameters[name] = shape.parameterCounts.total
            }
            let again = try ModelConfiguration.parse(shape.encoded(), file: name)
            #expect(again == shape, "\(name)")
        }
        #expect(
            limits == [
                "DeepSeek-R1": 163_840, "DeepSeek-V3.2": 163_840, "Kimi-K2-Instruct": 131_072,
                "Kimi-K2.5": 262_144, "GLM-5.1": 202_752, "GLM-5.2": 1_048_576,
                "Qwen3-30B-A3B": 40_960, "Qwen3-30B-A3B-FP8": 40_960,
                "Qwen3-Coder-30B-A3B": 262_144, "GLM-4.5": 131_072, "MiniMax-M2": 196_608,
                "MiniMax-M2.7": 204_800, "gpt-oss-20b": 131_072, "gpt-oss-120b": 131_072,
            ])
        // Of the networks that Transformers 5.23 makes of them, gate biases included.
        #expect(
            parameters == [
                "DeepSeek-V3.2": 671_877_944_064, "GLM-5.1": 743_911_218_432,
                "GLM-5.2": 743_377_019_904, "gpt-oss-20b": 20_914_757_184,
                "gpt-oss-120b": 116_829_156_672,
            ])
    }

    @Test(arguments: [
        ("router_scale", #"router_scale: 2.5 is the value of an unknown key, which may change"#),
        ("rope_scaling", "c: rope_scaling.hidden_factor: 2.5 is the value of an unknown key"),
        ("rope_parameters", "c: rope_parameters.hidden_factor: 2.5 is the value of an unknown key"),
        ("quantization_config", "c: quantization_config.hidden_factor: 2.5 is the value of an"),
    ])
    func `an unknown key is refused by its name wherever it stands`(
        key: String, fact: String
    ) throws {
        let value = JSONValue.number(2.5)
        let yarn: JSONValue = [
            "type": "yarn", "factor": 40, "original_max_position_embeddings": 64,
            "hidden_factor": value,
        ]
        let quantization: JSONValue = [
            "quant_method": "fp8", "weight_block_size": [128, 128], "hidden_factor": value,
        ]
        let values = [
            "router_scale": value, "rope_scaling": yarn, "rope_parameters": yarn,
            "quantization_config": quantization,
        ]
        let line = try verdict([(key, try #require(values[key]))])
        #expect(line.contains(fact), "\(line)")
        let kimi: JSONValue = ["KimiK25ForConditionalGeneration"]
        let nested = try verdict(
            [("architectures", kimi)], in: [(key, try #require(values[key]))])
        #expect(nested.contains("c: text_config.\(key)"), "\(nested)")
        let beside = try verdict([("architectures", kimi), ("hidden_size", 64)], in: [])
        #expect(beside.contains("c: hidden_size: 64 is the value of an unknown key"), "\(beside)")
    }

    @Test func `a key without effect is taken with any value, and null is no value`() throws {
        for key in ConfigurationKeys.withoutEffect.values.flatMap({ $0 }) + ["_name_or_path"] {
            #expect(try verdict([(key, "x")]) == "accepted", "\(key)")
        }
        #expect(try verdict([("router_scale", .null)]) == "accepted")
    }

    @Test func `a key of one value is refused with another`() throws {
        for (key, values) in ConfigurationKeys.fixed {
            for value in values { #expect(try verdict([(key, value)]) == "accepted", "\(key)") }
            let line = try verdict([(key, "x")])
            #expect(line.hasPrefix("c: \(key): \"x\" is not run; taken is "), "\(line)")
        }
        for (key, value) in [("partial_rotary_factor", 0.5), ("llama_4_scaling_beta", 0.1)] {
            let line = try verdict([
                ("rope_parameters", ["rope_type": "default", key: .number(value)])
            ])
            #expect(line.hasPrefix("c: rope_parameters.\(key): \(value) is not run"), "\(line)")
        }
        #expect(try verdict([("layer_types", ["sliding"])]).contains("full_attention"))
    }

    @Test(arguments: [
        (#"{"rope_theta": 5}"#, "rope_parameters.rope_theta: 5.0; rope_theta is 10000.0"),
        (#"{"rope_type": "default", "factor": 4}"#, "factor: has a meaning with rope_type yarn"),
        (#"{"type": "yarn", "rope_type": "default"}"#, "type: yarn; rope_type is default"),
        (#"{"rope_type": "linear", "factor": 4}"#, "linear is neither yarn nor default"),
        (#"{"rope_type": "llama3", "factor": 4}"#, "llama3 is neither yarn nor default"),
    ])
    func `rotation that is said twice and differently is refused`(
        rope: String, fact: String
    ) throws {
        let line = try verdict([("rope_parameters", try JSONValue.parse(Array(rope.utf8)))])
        #expect(line.contains(fact), "\(line)")
    }

    @Test(arguments: [
        (#"{"mlp_layer_types": ["dense"]}"#, "lists 1 blocks; num_hidden_layers is 2"),
        (#"{"mlp_layer_types": ["dense", "x"]}"#, "x is neither dense nor sparse"),
        (#"{"mlp_layer_types": ["sparse", "sparse"]}"#, "makes block 0 sparse; first_k_dense_re"),
        (#"{"moe_layer_freq": [0, 0]}"#, "makes block 1 dense; first_k_dense_replace is 1"),
        (#"{"num_local_experts": 5}"#, "num_local_experts: 5; n_routed_experts is 4"),
        (#"{"num_mtp_layers": 2}"#, "num_mtp_layers: 2; num_nextn_predict_layers is 1"),
        (#"{"qk_head_dim": 41}"#, "41; qk_nope_head_dim 24 and qk_rope_head_dim 16 are 40"),
        (#"{"architectures": ["LlamaForCausalLM"], "x": 1}"#, "c: architectures: [\"Llama"),
        (#"{"architectures": null, "model_type": "llama"}"#, "model_type llama does not say"),
        (
            #"{"architectures": ["KimiK25ForConditionalGeneration"]}"#,
            "c: text_config: is missing; KimiK25ForConditionalGeneration keeps its network's keys"
        ),
    ])
    func `keys that contradict each other are refused with both`(
        keys: String, fact: String
    ) throws {
        let line = try verdict(#require(JSONValue.parse(Array(keys.utf8)).object).map { ($0, $1) })
        #expect(line.contains(fact), "\(line)")
    }

    @Test func `keys that repeat each other are taken`() throws {
        for keys: [(String, JSONValue)] in [
            [("mlp_layer_types", ["dense", "sparse"])], [("moe_layer_freq", [0, 1])],
            [("num_local_experts", 4)], [("num_mtp_layers", 1)], [("qk_head_dim", 40)],
            [("rope_parameters", ["rope_theta": 10000, "rope_type": "default"])],
            [("dtype", "bfloat16")],
        ] { #expect(try verdict(keys) == "accepted", "\(keys)") }
    }

    @Test func `the page of checkpoints names every key, and no other`() throws {
        let page = try String(contentsOf: Self.page, encoding: .utf8)
        func names(_ heading: String) throws -> Set<String> {
            let part = try #require(page.components(separatedBy: heading + "\n").last)
            let table = part.components(separatedBy: "\n#")[0].split(separator: "\n")
                .filter { $0.hasPrefix("| `") }
            return Set(
                table.flatMap { $0.split(separator: "|")[0].matches(of: /`([^`]+)`/) }
                    .map { String($0.1) })
        }
        let read = ConfigurationKeys.honoured.union(ConfigurationKeys.honouredBesideText)
        #expect(try names("### Keys that are read") == read)
        let fixed = Set(ConfigurationKeys.fixed.keys).union(ConfigurationKeys.fixedOfRope.keys)
        #expect(
            try names("### Keys of which one value is run") == fixed.union(["layer_types"]))
        let without = ConfigurationKeys.withoutEffect.values.reduce(Set()) { $0.union($1) }
        #expect(
            try names("### Keys without effect") == without.union(ConfigurationKeys.ofImages))
        for family in Architectures.all {
            guard let keys = family.keys else { continue }
            let named = try names("### `\(family.classNames[0])`")
            let fixed = Set(keys.fixed.keys).union(keys.lists.keys)
            #expect(
                named == keys.read.union(fixed).union(keys.withoutEffect),
                "\(family): \(named.symmetricDifference(keys.read.union(fixed)))")
        }
        for reason in ConfigurationKeys.Reason.allCases {
            #expect(page.contains("| \(reason.rawValue) |") || reason == .image, "\(reason)")
        }
        for key in YaRN.CodingKeys.allCases { #expect(page.contains("`\(key.rawValue)`")) }
        for key in QuantizationKeys.withoutEffect { #expect(page.contains("`\(key)`")) }
        for family in Architectures.all {
            #expect(page.contains("| `\(family.classNames[0])` |"), "\(family)")
        }
    }
}
