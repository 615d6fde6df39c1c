import Encoding
import Foundation
import Language
import TestSupport
import Testing

@testable import Grammar

@Suite struct ConstraintTests {
    /// Draws allowed tokens at random until the text ends.
    static func sample(
        _ constraint: OutputConstraint, tokens: Int, seed: UInt64
    ) throws -> String {
        var random = SplitMix64(seed: seed)
        var text = try ConstrainedText(
            constraint, vocabulary: ConstraintExamples.vocabulary, maxNewTokens: tokens)
        var bytes: [UInt8] = []
        for count in 0 ..< tokens where !text.isFinal {
            var spent = 0
            let mask = try text.mask(remaining: tokens - count, spent: &spent)
            let allowed = mask.indices.filter { mask[$0] }
            let token = try #require(allowed.randomElement(using: &random), "seed \(seed)")
            if token == 268 { break }
            bytes += ConstraintExamples.vocabulary.bytes[token]
            try text.append(token)
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
        let grammar = try ConstraintExamples.grammar(
            #"{"type":"integer","minimum":\#(range.lowerBound),"maximum":\#(range.upperBound)}"#)
        for value in -1300 ... 1300 {
            var state = GrammarState(grammar)
            for byte in String(value).utf8 { state = state.advanced(by: byte, in: grammar) }
            #expect(state.isComplete == range.contains(value), "\(value)")
        }
    }

    @Test(arguments: [
        #"{"type":"string","pattern":"(?=a)b"}"#, #"{"type":"string","pattern":"(a"}"#,
        #"{"type":"string","pattern":"(a)\\1"}"#,
        #"{"type":"string","pattern":"[]a]"}"#, #"{"not":{"type":"null"}}"#,
        #"{"type":"string","pattern":"(?<=a)b"}"#, ##"{"$ref":"#"}"##,
        #"{"allOf":[{"type":"string"},{"type":"null"}]}"#,
        #"{"allOf":[{"type":"string","minLength":"x"},{"minLength":3}]}"#,
        #"{"allOf":[{"pattern":"^a"},{"pattern":"^b"}],"type":"string"}"#,
        #"{"type":"string","format":"hostname","pattern":"^[a-z0-9-]{70}$"}"#,
        #"{"type":"string","format":"email","minLength":80}"#,
        // Sound, but of a shape or a size that no form of the format has.
        #"{"type":"string","format":"email","pattern":"@averylongcompanyname\\.com$"}"#,
        #"{"anyOf":[{"type":"string","format":"uri","pattern":"^http://127\\.0\\.0\\.1/$"},"#
            + #"{"type":"null"}]}"#,
        #"{"anyOf":[{"type":"string","format":"email","pattern":" "},{"type":"null"}]}"#,
        #"{"type":"number","minimum":1.00000001,"maximum":2}"#,
        #"{"type":"number","exclusiveMinimum":1,"maximum":1}"#, #"{"type":"banana"}"#, "[",
        "7",
        ##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##,
        #"{"type":"string","maxLength":10000000000}"#, #"{"type":"array","minItems":-1}"#,
        #"{"enum":[]}"#, #"{"type":"number","minimum":0,"exclusiveMinimum":true}"#,
        #"{"$ref":"http://x/y"}"#,
        #"{"type":"object","required":["a"],"additionalProperties":false}"#,
        String(repeating: #"{"items":"#, count: 64) + "{}" + String(repeating: "}", count: 64),
    ])
    func `a schema that cannot be followed is refused`(schema: String) {
        #expect(throws: GrammarError.self) {
            try ConstraintCompiler.grammar(of: .jsonSchema(schema))
        }
    }

    @Test func `alternatives that share definitions are followed once each`() throws {
        // 30 ways at each of 14 levels lead to one place: 30^14 ways in all.
        let levels = (0 ..< 14).map { level in
            let way = ##"{"$ref":"#/$defs/a\##(level + 1)"}"##
            let ways = Array(repeating: way, count: 30).joined(separator: ",")
            return #""a\#(level)":{"anyOf":[\#(ways)]}"#
        }
        let schema =
            ##"{"$ref":"#/$defs/a0","$defs":{"a14":{"type":"null"},"##
            + levels.joined(separator: ",") + "}}"
        #expect(try Self.sample(.jsonSchema(schema), tokens: 8, seed: 1) == "null")
    }

    @Test func `a branch that never ends is no branch`() throws {
        let schema = ##"""
            {"anyOf":[{"type":"null"},{"$ref":"#/$defs/x"}],
             "$defs":{"x":{"type":"array","minItems":2,"items":{"$ref":"#/$defs/x"}}}}
            """##
        let grammar = try ConstraintExamples.grammar(schema)
        #expect(GrammarState(grammar).advanced(by: UInt8(ascii: "["), in: grammar).isDead)
        #expect(try Self.sample(.jsonSchema(schema), tokens: 64, seed: 2) == "null")
    }

    @Test func `the narrower of an inclusive and an exclusive bound counts`() throws {
        let grammar = try ConstraintExamples.grammar(
            """
            {"type":"integer","minimum":5,"exclusiveMinimum":0,"maximum":7,"exclusiveMaximum":99}
            """)
        for value in 0 ... 99 {
            var state = GrammarState(grammar)
            for byte in String(value).utf8 { state = state.advanced(by: byte, in: grammar) }
            #expect(state.isComplete == (5 ... 7).contains(value), "\(value)")
        }
    }

    @Test(arguments: [
        #"{"type":"integer","minimum":"5"}"#, #"{"type":"integer","exclusiveMinimum":true}"#,
        #"{"anyOf":[{"type":"null"}],"oneOf":[{"type":"integer"}]}"#,
        #"{"enum":[1,2],"maximum":0}"#, #"{"enum":[1,2],"type":"string"}"#,
        #"{"enum":[[1]],"minItems":2}"#, #"{"type":"string","minLenght":2}"#,
        #"{"type":"object","properties":[1]}"#, #"{"type":"object","required":true}"#,
        #"{"type":["string",1]}"#, #"{"type":"array","contains":{"const":1}}"#,
        #"{"if":{"type":"null"},"then":{"const":1}}"#,
        #"{"type":"object","minProperties":2}"#,
    ])
    func `a keyword that would be passed over is refused`(schema: String) {
        #expect(throws: GrammarError.self) {
            try ConstraintCompiler.grammar(of: .jsonSchema(schema))
        }
    }

    @Test func `of literals beside a type only those of the type are allowed`() throws {
        let schema = #"{"enum":[1,"a",null,2.5],"type":["string","integer"]}"#
        let texts = try Set(
            (0 ..< 40).map { try Self.sample(.jsonSchema(schema), tokens: 8, seed: $0) })
        #expect(texts == ["1", #""a""#])
    }

    @Test func `too few tokens for the shortest document is refused`() {
        #expect(throws: GrammarError.self) {
            try ConstrainedText(
                .jsonObject, vocabulary: ConstraintExamples.vocabulary, maxNewTokens: 1)
        }
    }

    @Test(arguments: [
        "^[A-Z]{2}-\\d{3,5}$", "(a+)+$", "^(\\w+\\.)*\\w+@[a-z0-9-]+\\.(com|org)$", "x|y?z*",
        "^[^a-z\"\\\\]{1,4}$", "^.{0,6}$", "[\\s\"\\-\\]]", "^é[à-ü]+?$",
    ])
    func `any token choice under a pattern matches it`(pattern: String) throws {
        let schema = #"{"type":"string","pattern":\#(JSONValue.quoted(pattern))}"#
        let expression = try NSRegularExpression(pattern: pattern)
        for seed in UInt64(0) ..< 40 {
            let document = try Self.sample(.jsonSchema(schema), tokens: 40, seed: seed)
            let text = try #require(
                try JSONSerialization.jsonObject(
                    with: Data(document.utf8), options: .fragmentsAllowed) as? String)
            let whole = NSRange(text.startIndex..., in: text)
            #expect(
                expression.firstMatch(in: text, range: whole) != nil,
                "\(pattern), seed \(seed): \(text)")
        }
    }

    @Test(arguments: [
        (-1.5, 2.25, false, false), (0, 1, true, true), (0.5, 0.75, false, true),
        (3, 3, false, false),
        (-7, -2.5, true, false), (-0.001, 120, false, false), (99.9, 1000, true, true),
    ])
    func `any token choice under bounds is a number within them`(
        low: Double, high: Double, excludesLow: Bool, excludesHigh: Bool
    ) throws {
        let schema = """
            {"type":"number","\(excludesLow ? "exclusiveMinimum" : "minimum")":\(low),
            "\(excludesHigh ? "exclusiveMaximum" : "maximum")":\(high)}
            """
        for seed in UInt64(0) ..< 80 {
            let text = try Self.sample(.jsonSchema(schema), tokens: 24, seed: seed)
            let value = try #require(Double(text), "seed \(seed): \(text)")
            #expect(value >= low && value <= high, "seed \(seed): \(text)")
            if excludesLow { #expect(value > low, "seed \(seed): \(text)") }
            if excludesHigh { #expect(value < high, "seed \(seed): \(text)") }
        }
    }

    @Test func `a recursive model as Pydantic v1 writes it is satisfied`() throws {
        let schema = ##"""
            {"$ref":"#/definitions/Node","definitions":{"Node":{"title":"Node","type":"object",
             "properties":{"value":{"title":"Value","type":"integer"},
              "next":{"title":"Next","allOf":[{"$ref":"#/definitions/Node"}]}},
             "required":["value"]}}}
            """##
        var depth = 0
        for seed in UInt64(0) ..< 40 {
            let text = try Self.sample(.jsonSchema(schema), tokens: 120, seed: seed)
            var value = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
            var here = 0
            while let node = value {
                #expect(node["value"] is Int, "seed \(seed): \(text)")
                value = node["next"] as? [String: Any]
                here += 1
            }
            depth = max(depth, here)
        }
        #expect(depth > 1)
    }

    @Test func `what stands beside a reference and allOf is asked, too`() throws {
        let schema = ##"""
            {"$defs":{"i":{"type":"integer"}},"$ref":"#/$defs/i",
             "allOf":[{"minimum":500,"maximum":501}]}
            """##
        for seed in 0 ..< 20 {
            let text = try Self.sample(.jsonSchema(schema), tokens: 8, seed: UInt64(seed))
            #expect(["500", "501"].contains(text), "seed \(seed): \(text)")
        }
    }

    @Test func `any token choice under allOf satisfies every part`() throws {
        let schema = """
            {"allOf":[{"$ref":"#/$defs/named"},
              {"properties":{"age":{"type":"number","minimum":3}},"required":["age"]}],
             "type":"object","properties":{"age":{"type":"integer","maximum":9}},
             "$defs":{"named":{"type":"object",
              "properties":{"name":{"type":"string","maxLength":4}},"required":["name"]}}}
            """
        for seed in UInt64(0) ..< 40 {
            let text = try Self.sample(.jsonSchema(schema), tokens: 60, seed: seed)
            let value = try #require(
                try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect(value["name"] is String, "seed \(seed): \(text)")
            let age = try #require(value["age"] as? Int, "seed \(seed): \(text)")
            #expect((3 ... 9).contains(age), "seed \(seed): \(text)")
        }
    }

    @Test func `what one part says of additional properties holds for those of another`() throws {
        let schema = """
            {"allOf":[{"type":"object","additionalProperties":{"enum":[7,8]}},
              {"properties":{"age":{"type":["integer","null"]}},"required":["age"]},
              {"properties":{"age":{"type":"integer","nullable":true}}}]}
            """
        for seed in UInt64(0) ..< 40 {
            let text = try Self.sample(.jsonSchema(schema), tokens: 40, seed: seed)
            let value = try #require(
                try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Int])
            #expect(value["age"] != nil, "seed \(seed): \(text)")
            #expect(value.values.allSatisfy { $0 == 7 || $0 == 8 }, "seed \(seed): \(text)")
        }
    }

    @Test func `parts that lead to each other twice at every level are one part`() throws {
        let levels = (0 ..< 30).map { level in
            let way = ##"{"$ref":"#/$defs/a\##(level + 1)"}"##
            return #""a\#(level)":{"allOf":[\#(way),\#(way)]}"#
        }
        let schema =
            ##"{"$ref":"#/$defs/a0","$defs":{"a30":{},"## + levels.joined(separator: ",") + "}}"
        let grammar = try ConstraintCompiler.grammar(of: .jsonSchema(schema))
        #expect(grammar.positionCount < 1000)
    }
}
