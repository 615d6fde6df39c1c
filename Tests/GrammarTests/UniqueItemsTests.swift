import Encoding
import Foundation
import TestSupport
import Testing

@testable import Grammar

/// Arrays whose items must differ, and are no values of a list.
@Suite struct UniqueItemsTests {
    /// Tokens that cross the joints of an array, and repeat items inside of one.
    private static let joints = [
        #"","#, #"",""#, #"", ""#, #"[""#, #"["a""#, #"["a","a"]"#, #""]"#, #""]}"#, #"a""#,
        #"a","#, #"ab","ab""#, "ab", "aa", #""a"#, ", ", ",1", "1,", "1,1", "1]", "-0", "[1,1]",
        "0.5", "null,null", #""a","a""#, #"\""#, #"\\","#, #"é","é"#,
    ]

    /// Single bytes, and the joints.
    static let vocabulary = ConstraintVocabulary(
        bytes: (0 ... 255).map { [UInt8($0)] } + joints.map { Array($0.utf8) } + [[]],
        endTokens: [256 + joints.count])

    /// A text of random tokens, most of few bytes.
    static func sample(
        _ schema: String, tokens: Int, seed: UInt64,
        only letters: String = "[]{}:, \"\\ab1-.0n"
    ) throws -> String {
        var random = SplitMix64(seed: seed)
        let letters = Set(letters.utf8)
        var text = try ConstrainedText(
            .jsonSchema(schema), vocabulary: vocabulary, maxNewTokens: tokens)
        var bytes: [UInt8] = []
        for count in 0 ..< tokens where !text.isFinal {
            var spent = 0
            let mask = try text.mask(remaining: tokens - count, spent: &spent)
            let allowed = mask.indices.filter { mask[$0] }
            let likely = allowed.filter { token in
                token >= 256 || letters.contains(UInt8(token))
            }
            let some = likely.isEmpty ? allowed : likely
            let token = try #require(
                some.randomElement(using: &random),
                "seed \(seed): stuck after \(String(decoding: bytes, as: UTF8.self))")
            if vocabulary.bytes[token].isEmpty { break }
            bytes += vocabulary.bytes[token]
            try text.append(token)
        }
        #expect(text.isComplete, "seed \(seed): \(String(decoding: bytes, as: UTF8.self)) is cut")
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether the constraint's text may go on so, byte by byte.
    static func admits(_ text: String, _ schema: String) throws -> Bool {
        var state = try ConstrainedText(
            .jsonSchema(schema), vocabulary: vocabulary, maxNewTokens: 1 << 20)
        for (count, byte) in text.utf8.enumerated() {
            var spent = 0
            let mask = try state.mask(remaining: 1 << 16 - count, spent: &spent)
            guard mask[Int(byte)] else { return false }
            try state.append(Int(byte))
        }
        return state.isComplete
    }

    static func array(_ items: String, _ more: String = "") -> String {
        #"{"type":"array","uniqueItems":true,"items":\#(items)\#(more)}"#
    }

    /// What pydantic 2 writes for set[str], set[int], set[float], set[UUID], set[date] and
    /// set[str | None], then lengths, patterns and bounds.
    static let items = [
        #"{"type":"string"}"#, #"{"type":"integer"}"#, #"{"type":"number"}"#,
        #"{"type":"string","format":"uuid"}"#, #"{"type":"string","format":"date"}"#,
        #"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
        #"{"anyOf":[{"type":"integer"},{"type":"number"},{"type":"boolean"}]}"#,
        #"{"type":"string","maxLength":1}"#, #"{"type":"string","minLength":1,"maxLength":2}"#,
        #"{"type":"string","pattern":"^[ab]{0,2}$"}"#, #"{"type":"string","pattern":"^a*$"}"#,
        #"{"type":"string","pattern":"^(a|aa|\"\\\\\\\\)$"}"#,
        #"{"type":"integer","minimum":-1,"maximum":1000}"#,
        #"{"anyOf":[{"enum":["a","ab",1]},{"type":"string","pattern":"^b+$"}]}"#,
    ]

    @Test(arguments: items)
    func `any token choice is an array whose items differ, at any limit of tokens`(
        items: String
    ) throws {
        var longest = 0
        for seed in UInt64(0) ..< 120 {
            let schema = Self.array(items, seed % 3 == 0 ? #","minItems":1"# : "")
            let start = items.contains("uuid") || items.contains("date") ? 45 : 6
            let text = try Self.sample(schema, tokens: start + Int(seed) / 2, seed: seed)
            let keys = try JSONDecoder().decode([Item].self, from: Data(text.utf8))
            #expect(Set(keys).count == keys.count, "seed \(seed): \(text)")
            longest = max(longest, keys.count)
        }
        #expect(longest > 1, "no text had two items")
    }

    /// A value as another reader holds it; a string is its bytes, not what looks the same.
    private enum Item: Hashable, Decodable {
        case null
        case bool(Bool)
        case number(Double)
        case string([UInt8])

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if value.decodeNil() {
                self = .null
            } else if let bool = try? value.decode(Bool.self) {
                self = .bool(bool)
            } else if let number = try? value.decode(Double.self) {
                self = .number(number)
            } else {
                self = .string(Array(try value.decode(String.self).utf8))
            }
        }
    }

    @Test func `items are equal by their values, and different ones are admitted`() throws {
        let strings = Self.array(#"{"type":"string"}"#)
        for text in [
            #"["a","b","ab",""]"#, "[]", #"["a\"","a","a\\"]"#, #"["é", "e"]"#, #"["["]"#,
        ] {
            #expect(try Self.admits(text, strings), "\(text)")
        }
        for text in [
            #"["a","a"]"#, #"["","a",""]"#, #"["a","\u0061"]"#, #"["a","b", "a"]"#, #"["é","é"]"#,
            #"["\n","\n"]"#,
        ] {
            #expect(try !Self.admits(text, strings), "\(text)")
        }
        let numbers = Self.array(#"{"type":"number"}"#)
        for text in ["[1,10,-1,0.1,0,100.5]", "[12,1]", "[-0.5,0.5]"] {
            #expect(try Self.admits(text, numbers), "\(text)")
        }
        for text in ["[1,1]", "[1,1.0]", "[0,-0]", "[10,1e1]", "[0.5,0.50]", "[2,1,2]"] {
            #expect(try !Self.admits(text, numbers), "\(text)")
        }
    }

    @Test func `arrays beside each other remember their own items`() throws {
        let set = Self.array(#"{"type":"string"}"#)
        let object =
            #"{"type":"object","properties":{"a":\#(set),"b":\#(set),"#
            + #""c":{"type":"array","items":\#(set)}},"required":["a","b","c"]}"#
        #expect(try Self.admits(#"{"a":["x"],"b":["x"],"c":[["x","y"],["x"],[]]}"#, object))
        #expect(try !Self.admits(#"{"a":["x"],"b":["x"],"c":[["x","y"],["x","x"]]}"#, object))
    }

    @Test func `an alternative without uniqueItems may repeat`() throws {
        let either =
            #"{"anyOf":[\#(Self.array(#"{"type":"string"}"#)),"#
            + #"{"type":"array","items":{"type":"string","maxLength":2}}]}"#
        #expect(try Self.admits(#"["a","a"]"#, either))
        #expect(try Self.admits(#"["a","long"]"#, either))
        #expect(try !Self.admits(#"["long","long"]"#, either))
        #expect(try !Self.admits(#"["a","a","long"]"#, either))
    }

    @Test func `after the last value that differs the array ends`() throws {
        // 1 and 2 letters of two: 6 values, and then no comma.
        let schema = Self.array(#"{"type":"string","pattern":"^[ab]{1,2}$"}"#)
        #expect(try Self.admits(#"["a","b","aa","ab","ba","bb"]"#, schema))
        var text = try ConstrainedText(
            .jsonSchema(schema), vocabulary: Self.vocabulary, maxNewTokens: 1 << 12)
        for byte in #"["a","b","aa","ab","ba","bb""#.utf8 { try text.append(Int(byte)) }
        var spent = 0
        let mask = try text.mask(remaining: 1 << 12, spent: &spent)
        #expect(mask.indices.filter { mask[$0] } == [Int(UInt8(ascii: "]"))])
    }

    @Test func `beyond the limits of what is remembered the array ends`() throws {
        let schema = Self.array(#"{"type":"integer"}"#)
        var text = try ConstrainedText(
            .jsonSchema(schema), vocabulary: Self.vocabulary, maxNewTokens: 1 << 16)
        try text.append(Int(UInt8(ascii: "[")))
        var last = 0
        for value in 1 ... 2 * SeenItems.itemLimit {
            for byte in "\(value)".utf8 { try text.append(Int(byte)) }
            last = value
            var spent = 0
            let mask = try text.mask(remaining: 1 << 16, spent: &spent)
            guard mask[Int(UInt8(ascii: ","))] else { break }
            try text.append(Int(UInt8(ascii: ",")))
        }
        #expect(last == SeenItems.itemLimit + 2)
        try text.append(Int(UInt8(ascii: "]")))
        #expect(text.isFinal)
    }

    @Test func `a long array costs its mask little`() throws {
        let schema = Self.array(#"{"type":"string"}"#)
        var text = try ConstrainedText(
            .jsonSchema(schema), vocabulary: Self.vocabulary, maxNewTokens: 1 << 16)
        try text.append(Int(UInt8(ascii: "[")))
        var random = SplitMix64(seed: 7)
        var most = 0
        for index in 0 ..< 400 {
            let word = (0 ..< 6).map { _ in UInt8.random(in: 97 ... 122, using: &random) }
            let item = Array((index > 0 ? ",\"" : "\"").utf8) + word + Array("\"".utf8)
            for byte in item {
                var spent = 0
                _ = try text.mask(remaining: 1 << 15, spent: &spent)
                most = max(most, spent)
                try text.append(Int(byte))
            }
        }
        // A sixteenth of what one walk of the vocabulary may take.
        #expect(most < GrammarAutomaton.WalkLimits().steps / 16, "\(most) steps")
    }

    @Test(arguments: [true, false])
    func `beyond the limits of a walk longer tokens are left out`(isOver: Bool) throws {
        let texts = [",", ",,", "a", "a,", "ab"]
        let trie = TokenTrie(texts.map { Array($0.utf8) })
        let automaton = GrammarAutomaton(
            try ConstraintCompiler.grammar(
                of: .jsonSchema(Self.array(#"{"type":"string"}"#))),
            limits: isOver
                ? GrammarAutomaton.WalkLimits(steps: 1) : GrammarAutomaton.WalkLimits())
        var walk = automaton.walk()
        var items: UniqueItems?
        var state = automaton.id(of: GrammarState(automaton.grammar))
        for byte in #"[""#.utf8 {
            let next = UniqueItems.advance(&items, state, byte, in: automaton, &walk)
            state = try #require(next)
        }
        var mask = Array(repeating: true, count: texts.count)
        var spent = 0
        UniqueItemsWalk.narrow(
            &mask, at: state, items, remaining: 100, trie, automaton, spent: &spent)
        // What has no comma is not walked.
        #expect(mask == [true, !isOver, true, !isOver, true])
    }

    @Test(arguments: [
        (#"{"type":"array","items":{"type":"integer"}}"#, "not for arrays"),
        (#"{"type":"object"}"#, "not for objects"), ("{}", "not for any value"),
        (#"{"type":"number","minimum":0}"#, "not for numbers with bounds"),
        (#"{"anyOf":[{"const":1.5},{"type":"number"}]}"#, "beside others as 1.5"),
    ])
    func `items that cannot be told apart are refused by name`(
        items: String, words: String
    ) throws {
        let error = try #require(throws: GrammarError.self) {
            try ConstraintCompiler.grammar(of: .jsonSchema(Self.array(items)))
        }
        #expect("\(error)".contains("uniqueItems") && "\(error)".contains(words), "\(error)")
    }

    @Test func `more items than one are demanded of lists of values alone`() throws {
        let error = try #require(throws: GrammarError.self) {
            try ConstraintCompiler.grammar(
                of: .jsonSchema(Self.array(#"{"type":"string"}"#, #","minItems":2"#)))
        }
        #expect("\(error)".contains("minItems of 2"), "\(error)")
    }
}
