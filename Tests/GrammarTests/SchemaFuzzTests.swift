import Encoding
import Foundation
import TestSupport
import Testing

@testable import Grammar

/// A short, repeatable part of what `make fuzz` does with schemas.
@Suite struct SchemaFuzzTests {
    @Test(arguments: UInt64(0) ..< 4)
    func `any schema compiles within its budget or is refused in words`(part: UInt64) throws {
        var schemas = RandomSchema(seed: part)
        var taken = 0
        for index in 0 ..< 40 {
            let text = schemas.next().text
            let budget = CompilationBudget(textBytes: text.utf8.count)
            var builder = GrammarBuilder(budget)
            do {
                let start = try SchemaCompiler.rule(text, &builder)
                let grammar = try Grammar(start: start, builder)
                taken += 1
                #expect(budget.steps <= budget.stepLimit && budget.bytes <= budget.byteLimit)
                #expect(grammar.positionCount <= Grammar.sizeLimit)
                try walk(grammar, seed: part &* 1000 &+ UInt64(index), text)
            } catch let fault as SchemaCompiler.Fault {
                #expect(!fault.reason.isEmpty)
            } catch let fault as Grammar.Fault {
                #expect(!fault.description.isEmpty)
            }
        }
        #expect(taken > 2, "only \(taken) schemas of part \(part) were taken")
    }

    /// Follows some bytes, then the shortest way to the end: what comes out is JSON.
    private func walk(_ grammar: Grammar, seed: UInt64, _ schema: String) throws {
        var random = SplitMix64(seed: seed)
        let automaton = GrammarAutomaton(grammar)
        var id = automaton.id(of: GrammarState(grammar))
        guard automaton.shortest(id) < 2000 else { return }
        var bytes: [UInt8] = []
        while !automaton.state(id).isComplete || bytes.count < 12 {
            var walk = automaton.walk()
            let ways = (UInt8.min ... .max).compactMap { byte in
                automaton.next(id, byte: byte, &walk).map { (byte: byte, next: $0) }
            }
            if ways.isEmpty || automaton.state(id).isFinal { break }
            let way =
                bytes.count < 12
                ? ways.randomElement(using: &random)
                : ways.min { automaton.shortest($0.next) < automaton.shortest($1.next) }
            guard let way else { break }
            bytes.append(way.byte)
            id = way.next
        }
        #expect(automaton.state(id).isComplete, "seed \(seed): stuck in \(schema)")
        #expect(throws: Never.self, "seed \(seed): \(String(decoding: bytes, as: UTF8.self))") {
            try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
        }
    }
}
