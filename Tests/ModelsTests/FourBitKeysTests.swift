import Encoding
import Foundation
import Testing

@testable import Models

@Suite struct FourBitKeysTests {
    /// What Kimi-K2-Thinking's configuration says of its weights.
    static let published = """
        {"config_groups": {"group_0": {"input_activations": null, "output_activations": null,
         "targets": ["Linear"], "weights": {"actorder": null, "block_structure": null,
         "dynamic": false, "group_size": 32, "num_bits": 4, "observer": "minmax",
         "observer_kwargs": {}, "strategy": "group", "symmetric": true, "type": "int"}}},
         "format": "pack-quantized", "ignore": ["lm_head", "re:.*self_attn.*",
         "re:.*shared_experts.*", "re:.*mlp\\\\.(gate|up|gate_up|down)_proj.*"],
         "kv_cache_scheme": null, "quant_method": "compressed-tensors",
         "quantization_status": "compressed"}
        """

    private func configuration(_ text: String) throws -> ModelConfiguration {
        var members = try #require(JSONValue.parse(Array(ConvertTests.small.utf8)).object)
        members.append(("quantization_config", try JSONValue.parse(Array(text.utf8))))
        return try ModelConfiguration.parse(
            Data(JSONValue.object(members).encoded().utf8), file: "c")
    }

    @Test func `what a published configuration excepts stays plain`() throws {
        let configuration = try configuration(Self.published)
        let quantization = try #require(configuration.quantization)
        let quantised = NetworkTensors(configuration).all.filter {
            quantization.form(of: $0) != nil
        }
        // Routed experts of the expert layer and of the MTP block, and nothing else.
        #expect(quantised.count == 2 * 4 * 3)
        #expect(quantised.allSatisfy { $0.name.contains(".mlp.experts.") })
        #expect(quantised.allSatisfy { quantization.form(of: $0) == .int4 })
    }

    @Test func `a configuration is written as it was read`() throws {
        let quantization = try #require(try configuration(Self.published).quantization)
        let written = try JSONEncoder().encode(quantization)
        let again = try #require(
            try configuration(String(decoding: written, as: UTF8.self)).quantization)
        #expect(again == quantization)
        let mxfp4 = Self.published.replacing("\"int\"", with: "\"float\"")
            .replacing("pack-quantized", with: "mxfp4-pack-quantized")
        #expect(try configuration(mxfp4).quantization?.form == .mxfp4)
    }

    @Test(arguments: [
        ("\"num_bits\": 4", "\"num_bits\": 8", "group_0.weights.num_bits: 8 is not taken"),
        ("\"group_size\": 32", "\"group_size\": 128", "group_0.weights.group_size: 128 is not"),
        ("\"symmetric\": true", "\"symmetric\": false", "group_0.weights.symmetric: false is"),
        ("\"strategy\": \"group\"", "\"strategy\": \"channel\"", "weights.strategy: \"channel\""),
        ("\"type\": \"int\"", "\"type\": \"float\"", "weights.type: \"float\" is not taken"),
        ("\"actorder\": null", "\"actorder\": \"group\"", "weights.actorder: \"group\" is not"),
        ("\"dynamic\": false", "\"dynamic\": true", "group_0.weights.dynamic: true is not"),
        ("\"lm_head\"", "\"re:(a\"", "quantization_config.ignore: re:(a is not taken; taken are"),
        ("\"lm_head\"", "7", "quantization_config.ignore: [7,"),
    ])
    func `another form is refused by its key and value`(
        old: String, new: String, fact: String
    ) throws {
        let text = Self.published.replacing(old, with: new)
        #expect(text != Self.published)
        let error = #expect(throws: (any Error).self) { try configuration(text) }
        #expect("\(error!)".contains(fact), "\(error!)")
    }

    @Test(arguments: [
        // Python: re.match(pattern, name).
        ("re:.*self_attn.*", "model.layers.0.self_attn.q_proj", true),
        ("re:.*mlp\\.(gate|up|gate_up|down)_proj.*", "model.layers.0.mlp.gate_proj", true),
        ("re:.*mlp\\.(gate|up|gate_up|down)_proj.*", "model.layers.1.mlp.experts.0.up_proj", false),
        ("re:model", "model.layers", true), ("re:layers", "model.layers", false),
        ("re:^model\\.layers\\.[0-2]\\..*$", "model.layers.2.x", true),
        ("re:^model\\.layers\\.[0-2]\\..*$", "model.layers.3.x", false),
        ("re:model\\.layers\\.\\d+$", "model.layers.61", true),
        ("re:(?:a|b)+c?$", "abab", true), ("re:(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false),
        ("re:[^.]*$", "a.b", false),
        ("re:(|a)+b", "aab", true), ("re:.\\w[a-c-]?-$", "x_-", true),
        ("lm_head", "lm_head", true), ("lm_head", "lm_head.x", false),
    ])
    func `a pattern matches as Python's does`(text: String, name: String, matches: Bool) throws {
        #expect(try NamePattern(text).matches(name) == matches)
    }

    @Test(arguments: [
        "re:(", "re:a**", "re:(?=a)", "re:[a", "re:\\b", "re:a{2}", "re:a*?",
        // Python takes these: a class may begin with `]`, and a range end with what `\` escapes.
        "re:[]", "re:[^]", "re:[]a]", "re:[^]a]", "re:[+-\\.]", "re:[+-\\]",
    ])
    func `an expression that is not read is refused`(text: String) {
        #expect(throws: ModelConfiguration.Refusal.self) { try NamePattern(text) }
    }

    @Test func `too long an expression and too many are refused, and names are not counted`() throws
    {
        func fact(_ texts: [String]) -> String {
            let error = #expect(throws: ModelConfiguration.Refusal.self) {
                try NamePatterns(texts)
            }
            return error?.fact ?? ""
        }
        let long = "re:" + String(repeating: "a", count: 510)
        #expect(fact([long]).contains("has 513 bytes; an expression has at most 512"))
        let many = (0 ..< 65).map { "re:a\($0)" }
        #expect(fact(many) == "65 expressions after re:; the limit is 64")
        let large = [String](repeating: String(long.dropLast()), count: 3)
        #expect(fact(large) == "1536 bytes of expressions after re:; the limit is 1024")
        // They are counted before the first of them is read.
        #expect(fact(["re:("] + large) == "1540 bytes of expressions after re:; the limit is 1024")
        let names = try NamePatterns((0 ..< 10_000).map { "layers.\($0)" } + ["re:.*attn.*"])
        let found = (0 ..< 20_000).count(where: { names.matches("layers.\($0)") })
        #expect(found == 10_000)
        #expect(names.matches("a.self_attn.b") && !names.matches("layers"))
    }

    @Test func `names are those of the text model too, and a class is a name`() throws {
        func form(
            _ module: String, _ role: NetworkTensor.Role, ignoring name: String
        ) throws -> Quantization.Form? {
            let text = Self.published.replacing("\"lm_head\"", with: "\"\(name)\"")
            let quantization = try #require(try configuration(text).quantization)
            return quantization.form(
                of: NetworkTensor(
                    name: "language_model.\(module).weight", shape: [64, 64], role: role))
        }
        let expert = "model.layers.1.mlp.experts.0.up_proj"
        let layer = "re:model[.]layers[.]1[.]mlp"
        #expect(try form("lm_head", .wide, ignoring: "other") == .int4)
        for name in ["lm_head", "language_model.lm_head", "re:lm_", "Linear"] {
            #expect(try form("lm_head", .wide, ignoring: name) == nil, "\(name)")
        }
        for name in ["lm_head", "head", "re:layers", "re:model[.]layers[.]2"] {
            #expect(try form(expert, .projection, ignoring: name) == .int4, "\(name)")
        }
        for name in [expert, "language_model." + expert, layer, "re:language_model", "Linear"] {
            #expect(try form(expert, .projection, ignoring: name) == nil, "\(name)")
        }
    }

    @Test func `a few of very many modules are named as targets`() throws {
        let others = (0 ... Quantization.exceptionLimit).map { "model.layers.\($0).x" }
        let few = try Quantization(.int4, of: ["lm_head"], besides: others)
        let text = few.published.encoded()
        #expect(text.contains("\"lm_head\"") && !text.contains("layers"), "\(text)")
        let more = try Quantization(.int4, of: ["lm_head"], besides: Array(others.dropLast()))
        #expect(more.published.encoded().contains("\"Linear\""))
    }
}
