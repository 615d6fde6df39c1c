import Encoding
import Foundation
import TestSupport
import Testing

@testable import Grammar

/// What constrained texts may cost, and that what the limits leave out is never wrong.
@Suite struct ConstraintLimitTests {
    /// As many tokens as DeepSeek-V3 has: all bytes, then words of syllables, some after a space.
    static let large: ConstraintVocabulary = {
        var random = SplitMix64(seed: 7)
        let syllables = ["a", "e", "ta", "re", "in", "st", "er", "the", "ing", "com", "ver", "qu"]
        var words = (UInt8.min ... .max).map { [$0] }
        var known = Set(words)
        while words.count < 129_280 {
            let count = Int.random(in: 1 ... 7, using: &random)
            var word: [UInt8] = count % 2 == 0 ? [32] : []
            for _ in 0 ..< count { word += syllables.randomElement(using: &random)!.utf8 }
            if known.insert(word).inserted { words.append(word) }
        }
        return ConstraintVocabulary(bytes: words, endTokens: [129_280])
    }()

    static func token(_ byte: UInt8, _ vocabulary: ConstraintVocabulary) throws -> Int {
        try #require(vocabulary.bytes.firstIndex(of: [byte]))
    }

    @Test(arguments: ConstraintExamples.wide)
    func `a mask of 129,280 tokens takes a bounded number of steps, and has every single byte`(
        pattern: String
    ) throws {
        let limits = GrammarAutomaton.WalkLimits()
        var text = try ConstrainedText(
            ConstraintExamples.schema(pattern), vocabulary: Self.large, maxNewTokens: 1000)
        for byte in #""ab"#.utf8 {
            let token = try Self.token(byte, Self.large)
            var spent = 0
            #expect(try text.mask(remaining: 990, spent: &spent)[token])
            // The last state may be dear: its ways, and what naming it takes.
            #expect(spent <= limits.steps + 2 * GrammarState.stepLimit)
            try text.append(token)
        }
    }

    @Test func `beyond its steps a walk leaves out longer tokens, and admits no wrong one`() throws
    {
        let whole = try ConstrainedText(
            ConstraintExamples.schema("^(a|b|ab|.){500}$"), vocabulary: Self.large,
            maxNewTokens: 2000)
        let cache = GrammarCache(limits: .init(steps: 200_000))
        let cut = try ConstrainedText(
            ConstraintExamples.schema("^(a|b|ab|.){500}$"), vocabulary: Self.large,
            maxNewTokens: 2000,
            cache: cache)
        var texts = [whole, cut]
        for index in texts.indices { try texts[index].append(try Self.token(34, Self.large)) }
        var spent = [0, 0]
        let all = try texts[0].mask(remaining: 1999, spent: &spent[0])
        let some = try texts[1].mask(remaining: 1999, spent: &spent[1])
        #expect(spent[1] < spent[0])
        let lost = all.indices.filter { all[$0] && !some[$0] }
        #expect(all.indices.allSatisfy { all[$0] || !some[$0] })
        #expect(!lost.isEmpty)
        // Shorter tokens come first.
        let shortest = lost.map { Self.large.bytes[$0].count }.min() ?? 0
        #expect(shortest > 1)
        #expect(
            all.indices.allSatisfy {
                some[$0] || !all[$0] || Self.large.bytes[$0].count >= shortest
            })
    }

    @Test func `what a walk leaves out does not depend on what others found before`() throws {
        let grammar = try ConstraintCompiler.grammar(
            of: ConstraintExamples.schema(#"^(\w?){300}$"#))
        func walk(
            _ prefix: String, _ automaton: GrammarAutomaton
        ) throws -> (tokens: [Int32], walk: GrammarAutomaton.Walk) {
            var way = automaton.walk()
            var id = automaton.id(of: GrammarState(grammar))
            for byte in prefix.utf8 { id = try #require(automaton.next(id, byte: byte, &way)) }
            var walk = automaton.walk()
            let choices = Self.large.trie.choices(from: id, in: automaton, &walk)
            return (try #require(choices).map(\.token), walk)
        }
        let limits = GrammarAutomaton.WalkLimits(steps: 200_000)
        let shared = GrammarAutomaton(grammar, limits: limits)
        for prefix in [#"""#, #""abc"#, #""ab"#] { _ = try walk(prefix, shared) }
        let late = try walk(#""a"#, shared)
        let alone = try walk(#""a"#, GrammarAutomaton(grammar, limits: limits))
        #expect(late.walk.isOver && alone.walk.isOver)
        #expect(late.tokens == alone.tokens)
        #expect(late.walk.spent < alone.walk.spent)
    }

    @Test(arguments: ConstraintExamples.wide)
    func `whatever is dropped, a text can always be closed in the tokens that are left`(
        pattern: String
    ) throws {
        let schema = ConstraintExamples.schema(pattern)
        let least = GrammarState(try ConstraintCompiler.grammar(of: schema))
            .shortest(in: try ConstraintCompiler.grammar(of: schema))
        for seed in UInt64(0) ..< 3 {
            let document = try ConstraintTests.sample(
                schema, tokens: least + Int(seed) * 3, seed: seed)
            let value = try JSONSerialization.jsonObject(
                with: Data(document.utf8), options: .fragmentsAllowed)
            #expect(value is String, "seed \(seed): \(document)")
        }
    }

    @Test func `a token that the grammar forbids is an error, and the text stays`() throws {
        var text = try ConstrainedText(
            .choice(["ab"]), vocabulary: ConstraintExamples.vocabulary, maxNewTokens: 4)
        // Another byte, an end, and no token at all.
        for token in [Int(UInt8(ascii: "b")), 268, 5000] {
            #expect(throws: GrammarError.self) { try text.append(token) }
        }
        try text.append(Int(UInt8(ascii: "a")))
        try text.append(Int(UInt8(ascii: "b")))
        #expect(text.isFinal)
    }

    @Test func `a vocabulary without the bytes that must come is an error, not an empty mask`()
        throws
    {
        let letters = ConstraintVocabulary(bytes: [[97], [98]], endTokens: [2])
        var text = try ConstrainedText(.choice(["c"]), vocabulary: letters, maxNewTokens: 4)
        var spent = 0
        #expect(throws: GrammarError.self) { try text.mask(remaining: 4, spent: &spent) }
    }

    @Test func `an automaton's ways are those of the grammar, whatever it forgets`() throws {
        let schema = ConstraintExamples.schema(#"^(\w?){200}$"#)
        let limits = GrammarAutomaton.WalkLimits(bytes: 1 << 12)
        let cache = GrammarCache(limits: limits, byteLimit: 1 << 13)
        let automaton = try cache.automaton(of: schema)
        let grammar = automaton.grammar
        var plain = GrammarState(grammar)
        var forgotten = 0
        for byte in "\"azAZ09_xazAZ09_x".utf8 {
            for probe in UInt8.min ... UInt8.max {
                let before = automaton.stateCount
                cache.makeRoom()
                forgotten += automaton.stateCount < before ? 1 : 0
                var walk = automaton.walk()
                let next = automaton.next(automaton.id(of: plain), byte: probe, &walk)
                let wanted = plain.advanced(by: probe, in: grammar)
                #expect(next.map { automaton.state($0) } ?? wanted == wanted)
                #expect((next == nil) == wanted.isDead, "byte \(probe)")
            }
            plain = plain.advanced(by: byte, in: grammar)
        }
        #expect(forgotten > 1)
    }

    @Test func `all automata together stay within the bytes of their cache`() throws {
        let byteLimit = 1 << 17
        let cache = GrammarCache(limits: .init(bytes: byteLimit / 4), byteLimit: byteLimit)
        let vocabulary = ConstraintExamples.vocabulary
        var texts = try (90 ..< 100).map {
            try ConstrainedText(
                ConstraintExamples.schema("^([a-z]?[b-y]?){\($0)}$"), vocabulary: vocabulary,
                maxNewTokens: 500,
                cache: cache)
        }
        // The last state of a walk, and the tokens of a mask in an array that has just grown.
        let slack = (1 << 14) + vocabulary.trie.tokenCount * 16
        var held = 0
        var forgotten = 0
        for byte in "\"bcdefghijkl".utf8 {
            for index in texts.indices {
                var spent = 0
                #expect(try texts[index].mask(remaining: 400, spent: &spent)[Int(byte)])
                try texts[index].append(Int(byte))
                #expect(cache.byteCount <= byteLimit + slack)
                forgotten += cache.byteCount < held ? 1 : 0
                held = cache.byteCount
            }
        }
        #expect(forgotten > 0)
    }

    @Test func `many ways cost a state per byte of a token, and forbid no token`() throws {
        let automaton = GrammarAutomaton(
            try ConstraintCompiler.grammar(of: ConstraintExamples.schema(#"^(\w?){200}$"#)))
        // Every word of up to three letters of eight.
        let letters = Array("abcdefgh".utf8)
        var words = (0 ... 255).map { [UInt8($0)] }
        for a in letters {
            for b in letters { words += [[a, b]] + letters.map { [a, b, $0] } }
        }
        let trie = TokenTrie(words)
        var walk = automaton.walk()
        let quote = try #require(
            automaton.next(
                automaton.id(of: GrammarState(automaton.grammar)), byte: UInt8(ascii: "\""),
                &walk))
        let choices = try #require(trie.choices(from: quote, in: automaton, &walk))
        let found = Set(choices.map { Int($0.token) })
        for index in 256 ..< words.count { #expect(found.contains(index)) }
        // The start, the quote, one per letter, and the closing quote.
        #expect(automaton.stateCount == 6)
    }

    @Test func `texts of one schema share its grammar`() throws {
        let cache = GrammarCache()
        let first = try cache.automaton(of: .jsonSchema(#"{"type":"integer"}"#))
        #expect(try cache.automaton(of: .jsonSchema(#"{"type":"integer"}"#)) === first)
        for limit in 1 ... RecentConstraints<Int>.countLimit {
            _ = try cache.automaton(of: .jsonSchema(#"{"type":"string","maxLength":\#(limit)}"#))
        }
        #expect(try cache.automaton(of: .jsonSchema(#"{"type":"integer"}"#)) !== first)
    }

    @Test func `what was asked for longest is dropped, by count and by bytes`() {
        var recent = RecentConstraints<Int>()
        func short(_ number: Int) -> OutputConstraint { .text("\(number)") }
        for number in 0 ..< 40 { recent.keep(number, of: short(number)) }
        #expect(recent.value(of: short(7)) == nil)
        #expect(recent.value(of: short(8)) == 8)
        recent.keep(40, of: short(40))
        #expect(recent.value(of: short(8)) == 8 && recent.value(of: short(9)) == nil)
        let half = String(repeating: "x", count: RecentConstraints<Int>.textLimit / 2)
        recent.keep(1, of: .text("a" + half))
        #expect(recent.value(of: short(40)) == 40)
        recent.keep(2, of: .text("b" + half))
        #expect(recent.value(of: .text("a" + half)) == nil)
        #expect(recent.value(of: .text("b" + half)) == 2)
        recent.keep(3, of: .text(half + half + half))
        #expect(recent.value(of: .text(half + half + half)) == 3)
        #expect(recent.value(of: .text("b" + half)) == nil)
    }

    @Test func `a constraint that is checked before it is followed is compiled once`()
        async throws
    {
        let grammars = CompiledGrammars()
        let schema = OutputConstraint.jsonSchema(#"{"type":"integer"}"#)
        #expect(await grammars.accepts(schema, isFollowed: true))
        try await grammars.prepare(schema)
        #expect(grammars.compilationCount == 1)
        let part = OutputConstraint.jsonSchema(#"{"type":"string"}"#)
        #expect(await grammars.accepts(part, isFollowed: false))
        #expect(await !grammars.accepts(.jsonSchema("{"), isFollowed: true))
        #expect(grammars.compilationCount == 1)
    }
}
