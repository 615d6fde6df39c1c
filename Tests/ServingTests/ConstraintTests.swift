import Foundation
import Testing

@testable import Serving

@Suite struct ConstraintTests {
    /// Single bytes, then a few longer tokens that cross the joints of JSON.
    static let vocabulary = ConstraintVocabulary(
        bytes: (0 ... 255).map { [UInt8($0)] }
            + [
                "\"}", "{\"", "\": ", ", \"", "true", "null}", "hello", "12", "\",\"", "]}", " ",
                "né",
            ]
            .map { Array($0.utf8) } + [[]],
        endTokens: [268])

    /// Draws allowed tokens at random until the text ends.
    static func sample(
        _ constraint: OutputConstraint, tokens: Int, seed: UInt64
    ) throws -> String {
        var random = Seeded(seed)
        var text = try ConstrainedText(constraint, vocabulary: vocabulary, maxNewTokens: tokens)
        var bytes: [UInt8] = []
        for count in 0 ..< tokens where !text.isFinal {
            let mask = text.mask(remaining: tokens - count)
            let allowed = mask.indices.filter { mask[$0] }
            let token = try #require(allowed.randomElement(using: &random), "seed \(seed)")
            #expect(text.allows(token, remaining: tokens - count))
            if token == 268 { break }
            bytes += vocabulary.bytes[token]
            text.append(token)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func `any token choice under json_object is a JSON object, at any limit of tokens`()
        throws
    {
        for seed in UInt64(0) ..< 60 {
            let text = try Self.sample(.jsonObject, tokens: 2 + Int(seed), seed: seed)
            let value = try JSONSerialization.jsonObject(with: Data(text.utf8))
            #expect(value is [String: Any], "seed \(seed): \(text)")
        }
    }

    @Test func `any token choice under a schema satisfies the schema`() throws {
        let schema = """
            {"type":"object","properties":{
              "name":{"type":"string","minLength":1,"maxLength":8},
              "age":{"type":"integer","minimum":-3,"maximum":120},
              "kind":{"enum":["cat","dog",7,null]},
              "tags":{"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":3},
              "tree":{"$ref":"#/$defs/node"}},
             "required":["name","kind","tree"],"additionalProperties":false,
             "$defs":{"node":{"type":"object","properties":{
               "left":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]},
               "value":{"type":"number"}},"required":["left","value"]}}}
            """
        for seed in UInt64(0) ..< 60 {
            let text = try Self.sample(
                .jsonSchema(schema), tokens: 90 + Int(seed) * 5, seed: seed)
            let value = try #require(
                try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            let name = try #require(value["name"] as? String)
            #expect((1 ... 8).contains(name.unicodeScalars.count), "seed \(seed): \(text)")
            if let age = value["age"] as? Int { #expect((-3 ... 120).contains(age)) }
            if let tags = value["tags"] as? [Bool] { #expect((1 ... 3).contains(tags.count)) }
            #expect(value["tree"] is [String: Any])
            #expect(Set(value.keys).isSubset(of: ["name", "age", "kind", "tags", "tree"]))
        }
    }

    @Test(arguments: [-1000 ... 1000, 0 ... 0, 1 ... 9, 7 ... 1234, -15 ... -3, 95 ... 1005])
    func `an integer range admits exactly its numbers`(range: ClosedRange<Int>) throws {
        let grammar = try SchemaCompiler.compile(
            #"{"type":"integer","minimum":\#(range.lowerBound),"maximum":\#(range.upperBound)}"#)
        for value in -1300 ... 1300 {
            var state = GrammarState(grammar)
            for byte in String(value).utf8 { state = state.advanced(by: byte, in: grammar) }
            #expect(state.isComplete == range.contains(value), "\(value)")
        }
    }

    @Test(arguments: [
        #"{"type":"string","pattern":"(a+)+$"}"#, ##"{"$ref":"#"}"##, #"{"type":"banana"}"#, "[",
        "7",
        ##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##,
        #"{"type":"string","maxLength":1000000000}"#, #"{"type":"array","minItems":-1}"#,
        #"{"enum":[]}"#, #"{"$ref":"http://x/y"}"#, #"{"type":"object","required":["a"]}"#,
        String(repeating: #"{"items":"#, count: 60) + "{}" + String(repeating: "}", count: 60),
        #"{"type":"array","minItems":30000,"items":{"type":"array","minItems":30000}}"#,
    ])
    func `a schema that cannot be followed is refused`(schema: String) {
        #expect(throws: ServingError.self) {
            try ConstrainedText.compile(.jsonSchema(schema))
        }
    }

    @Test func `a schema that doubles at every level is refused before it grows`() {
        var schema = #"{"type":"null"}"#
        for _ in 0 ..< 12 { schema = #"{"anyOf":[\#(schema),\#(schema)]}"# }
        #expect(throws: ServingError.self) { try ConstrainedText.compile(.jsonSchema(schema)) }
    }

    @Test func `too few tokens for the shortest document is refused`() {
        #expect(throws: ServingError.self) {
            try ConstrainedText(.jsonObject, vocabulary: Self.vocabulary, maxNewTokens: 1)
        }
    }
}
