import Encoding
import TestSupport
import Testing

@testable import Grammar

/// What multiplies in a schema is counted before it is done.
@Suite struct CompilationBudgetTests {
    private static func steps(_ schema: String) -> Int {
        let budget = CompilationBudget(textBytes: schema.utf8.count)
        var builder = GrammarBuilder(budget)
        do {
            let start = try SchemaCompiler.rule(schema, &builder)
            _ = try Grammar(start: start, builder)
        } catch {}
        return budget.steps
    }

    @Test func `two lists of 14,000 values are intersected in a few steps each`() throws {
        func list(_ value: Int) -> String {
            "{\"enum\":[" + String(repeating: "\(value),", count: 13_999) + "7]}"
        }
        let schema = "{\"allOf\":[\(list(1)),\(list(2))]}"
        #expect(Self.steps(schema) < 32 * schema.utf8.count)
        let grammar = try ConstraintExamples.grammar(schema)
        #expect(ConstraintExamples.admits("7", grammar))
        #expect(!ConstraintExamples.admits("1", grammar))
    }

    @Test func `equal values are one, however they are written`() throws {
        let grammar = try ConstraintExamples.grammar(
            #"{"allOf":[{"enum":[1.0,{"a":1,"b":[2]},"x"]},{"enum":[10e-1,{"b":[2.0],"a":1}]}]}"#)
        #expect(ConstraintExamples.admits("1.0", grammar))
        #expect(ConstraintExamples.admits(#"{"a":1,"b":[2]}"#, grammar))
        #expect(!ConstraintExamples.admits(#""x""#, grammar))
    }

    /// Each would take millions of steps and more if nothing counted.
    static let bombs: [String] = [
        // A product of alternatives.
        "{\"allOf\":["
            + (0 ..< 30).map { part in
                let options = (0 ..< 20).map { "{\"minimum\":\(part * 20 + $0)}" }
                return "{\"anyOf\":[\(options.joined(separator: ","))]}"
            }.joined(separator: ",") + "]}",
        // References that lead to each other twice at every level.
        ##"{"$ref":"#/$defs/a0","$defs":{"a30":{},"##
            + (0 ..< 30).map { level in
                let way = ##"{"$ref":"#/$defs/a\##(level + 1)"}"##
                return #""a\#(level)":{"allOf":[\#(way),\#(way)],"minLength":\#(level)}"#
            }.joined(separator: ",") + "}}",
        // Patterns whose automata have exponentially many states.
        #"{"type":"string","pattern":"(a|b)*a(a|b){200}(?!b)","minLength":3}"#,
        #"{"type":"string","allOf":[{"pattern":"a.{40}b.{40}c"},{"pattern":"c.{41}b.{41}a"}]}"#,
        // Nothing but text.
        "{\"enum\":[\"" + String(repeating: "x", count: CompilationBudget.textLimit) + "\"]}",
    ]

    @Test(arguments: bombs.indices)
    func `what multiplies is refused, and the error names the limit and its value`(
        index: Int
    ) throws {
        let error = try #require(throws: GrammarError.self) {
            try ConstraintExamples.grammar(Self.bombs[index])
        }
        let names = ["CompilationBudget", "the limit is"]
        #expect(names.contains { error.description.contains($0) }, "\(error)")
    }

    /// Each leads to itself before any document begins: followed without end, it needs more stack
    /// than any thread has.
    @Test(arguments: [
        ##"{"oneOf":[{"$ref":"#"},{"type":"null"}]}"##,
        ##"{"oneOf":[{"oneOf":[{"$ref":"#"},{"const":1}]},{"type":"null"}]}"##,
        ##"{"oneOf":[{"allOf":[{"$ref":"#"},{"minimum":1}]},{"const":"x"}]}"##,
        ##"{"$ref":"#/$defs/a","$defs":{"a":{"oneOf":[{"$ref":"#/$defs/b"},{"const":1}]},"##
            + ##""b":{"oneOf":[{"$ref":"#/$defs/a"},{"const":2}]}}}"##,
        ##"{"propertyNames":{"oneOf":[{"$ref":"#/propertyNames"},{"const":"x"}]}}"##,
        ##"{"items":{"oneOf":[{"$ref":"#/items"},{"const":"x"}],"minimum":1}}"##,
        ##"{"allOf":[{"$ref":"#"},{"minimum":1}],"type":"integer"}"##,
        ##"{"anyOf":[{"$ref":"#"},{"minimum":1}],"type":"integer"}"##,
    ])
    func `combinations that lead to themselves are refused`(schema: String) throws {
        let error = try #require(throws: GrammarError.self) {
            try ConstraintExamples.grammar(schema)
        }
        #expect(error.description.contains("nested deeper than 64"), "\(error)")
    }

    /// As pydantic writes a tagged union of expressions; a member before the tag leads back to it.
    @Test(arguments: [##"{"$ref":"#"}"##, ##"{"oneOf":[{"$ref":"#"},{"type":"null"}]}"##])
    func `options of oneOf that hold each other are told apart by their tags`(
        child: String
    ) throws {
        func option(_ tag: String) -> String {
            #"{"type":"object","properties":{"child":\#(child),"kind":{"const":"\#(tag)"}},"#
                + #""required":["child","kind"]}"#
        }
        let options = ##"{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"},{"type":"integer"}"##
        let definitions = #""a":\#(option("a")),"b":\#(option("b"))"#
        let grammar = try ConstraintExamples.grammar(
            #"{"oneOf":[\#(options)],"$defs":{\#(definitions)}}"#)
        let inner = #"{"child":7,"kind":"b"}"#
        #expect(ConstraintExamples.admits(#"{"child":\#(inner),"kind":"a"}"#, grammar))
        #expect(!ConstraintExamples.admits(#"{"child":\#(inner),"kind":"c"}"#, grammar))
    }

    @Test func `a long repetition takes a rule per power of two`() throws {
        let grammar = try ConstraintExamples.grammar(#"{"type":"string","maxLength":1000000}"#)
        #expect(grammar.positionCount < 4000)
        let text = "\"" + String(repeating: "é", count: 5000) + "\""
        #expect(ConstraintExamples.admits(text, grammar))
        for (least, most) in [(0, 257), (3, 1000), (511, 513), (300, 301), (1024, 1024)] {
            let grammar = try ConstraintExamples.grammar(
                #"{"type":"string","minLength":\#(least),"maxLength":\#(most)}"#)
            for count in [least - 1, least, least + 1, most - 1, most, most + 1] where count >= 0 {
                let text = "\"" + String(repeating: "x", count: count) + "\""
                #expect(
                    ConstraintExamples.admits(text, grammar) == (least ... most).contains(count),
                    "\(count) of \(least)...\(most)")
            }
        }
    }
}
