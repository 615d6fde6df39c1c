import Foundation
import TestSupport
import Testing

@testable import Grammar

/// Constraints made of parts.
@Suite struct OutputConstraintTests {
    static let recursive = OutputConstraint.jsonSchema(
        ##"""
        {"type":"object","properties":{"v":{"type":"integer"},
         "next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["v","next"]}
        """##)
    static let defined = OutputConstraint.jsonSchema(
        ##"{"$defs":{"U":{"type":"string"}},"type":"object","properties":{"u":{"##
            + ##""$ref":"#/$defs/U"}},"required":["u"]}"##
    )

    @Test func `each schema of a union keeps its own root`() throws {
        let calls = OutputConstraint.either([
            .sequence([.text("a:"), Self.recursive]), .sequence([.text("b:"), Self.defined]),
        ])
        let grammar = try ConstraintCompiler.grammar(of: calls)
        let admitted = [#"a:{"v":1,"next":{"v":2,"next":null}}"#, #"b:{"u":"x"}"#]
        let refused = [#"a:{"v":3,"next":{"name":"w"}}"#, #"b:{"u":1}"#, #"a:{"u":"x"}"#]
        for text in admitted { #expect(ConstraintExamples.admits(text, grammar), "\(text)") }
        for text in refused { #expect(!ConstraintExamples.admits(text, grammar), "\(text)") }
    }

    @Test(arguments: [
        nil, "{}", #"{"type":"object"}"#, #"{"type":"object","properties":{}}"#,
        #"{"type":"object","properties":{},"additionalProperties":false,"title":"T","#
            + #""required":[]}"#,
    ])
    func `a tool without parameters takes an empty object`(parameters: String?) throws {
        let grammar = try ConstraintCompiler.grammar(of: .arguments(parameters))
        #expect(ConstraintExamples.admits("{}", grammar))
        #expect(!ConstraintExamples.admits(#"{"a":1}"#, grammar))
        #expect(!ConstraintExamples.admits(#""x""#, grammar))
    }

    @Test func `an error names the part that it is about`() throws {
        let part = OutputConstraint.named(
            "the parameters of tool f", parameter: "tools", .jsonSchema(#"{"type":"banana"}"#))
        let error = try #require(throws: GrammarError.self) {
            try ConstraintCompiler.grammar(of: .either([.jsonObject, part]))
        }
        guard case .invalid(let fact, let parameter) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(parameter == "tools")
        #expect(fact == "the parameters of tool f: schema at #: there is no type banana")
    }

    @Test func `a regular expression matches the whole text`() throws {
        let grammar = try ConstraintCompiler.grammar(of: .regex(#"(yes|no)\s"\d{2,}""#))
        #expect(ConstraintExamples.admits("yes \"12\"", grammar))
        #expect(ConstraintExamples.admits("no\n\"123\"", grammar))
        #expect(!ConstraintExamples.admits("yes \"1\"", grammar))
        #expect(!ConstraintExamples.admits("oh yes \"12\"", grammar))
    }

    @Test func `a marker is one token, which no other token spells`() throws {
        // Single bytes, and a token of a chat format.
        let vocabulary = ConstraintVocabulary(
            bytes: (0 ... 255).map { [UInt8($0)] } + [Array("<call>".utf8)], endTokens: [],
            markers: [256])
        var text = try ConstrainedText(
            .either([.sequence([.marker(0), .text("f")]), .text("x")]), vocabulary: vocabulary,
            maxNewTokens: 4)
        var spent = 0
        let mask = try text.mask(remaining: 4, spent: &spent)
        #expect(mask.indices.filter { mask[$0] } == [Int(UInt8(ascii: "x")), 256])
        try text.append(256)
        try text.append(Int(UInt8(ascii: "f")))
        #expect(text.isFinal)
        #expect(throws: GrammarError.self) {
            try ConstraintCompiler.grammar(of: .marker(OutputConstraint.markerLimit))
        }
    }

    @Test func `a constraint survives being written and read`() throws {
        let constraint = OutputConstraint.named(
            "n", parameter: "p",
            .either([
                .repeated(.sequence([.marker(1), .text("a")]), atMost: 2), Self.recursive,
                .choice(["x"]), .regex("a+"), .jsonObject,
            ]))
        let data = try JSONEncoder().encode(constraint)
        #expect(try JSONDecoder().decode(OutputConstraint.self, from: data) == constraint)
    }
}
