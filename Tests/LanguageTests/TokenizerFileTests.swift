import Foundation
import TestSupport
import Testing

@testable import Language

/// What a tokenizer's files may say, and what is refused with its name.
@Suite struct TokenizerFileTests {
    /// The committed tokenizer with some values changed, as a `tokenizer.json`.
    private static func edited(
        _ change: (inout [String: Any]) throws -> Void
    ) throws -> [UInt8] {
        let data = try Data(contentsOf: TokenizerTests.golden.appending(path: "tokenizer.json"))
        let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
        var values = try #require(object)
        try change(&values)
        return try [UInt8](JSONSerialization.data(withJSONObject: values))
    }

    private static func model(_ key: String, _ value: Any) throws -> [UInt8] {
        try edited { values in
            var model = try #require(values["model"] as? [String: Any])
            model[key] = value
            values["model"] = model
        }
    }

    private func message(_ json: [UInt8], _ configuration: String? = nil) -> String {
        do {
            _ = try Tokenizer(
                tokenizerJSON: json, configurationJSON: configuration.map { Array($0.utf8) })
            return ""
        } catch { return error.description }
    }

    @Test func `what is not supported is refused by name`() throws {
        let split: [String: Any] = [
            "type": "Split", "pattern": ["Regex": "a|b"], "behavior": "Isolated", "invert": false,
        ]
        let removed: [String: Any] = [
            "type": "Split", "pattern": ["Regex": #"\p{N}"#], "behavior": "Removed",
            "invert": true,
        ]
        let cases: [([UInt8], String)] = [
            (try Self.edited { $0["pre_tokenizer"] = removed }, "leaves characters out, which"),
            (
                try Self.edited { $0["pre_tokenizer"] = removed.merging(["invert": false]) { $1 } },
                "Split is supported as Isolated, not inverted, or as Removed, inverted, only"
            ),
            (try Self.edited { $0["normalizer"] = ["type": "NFKC"] }, "normalizer NFKC is not"),
            (try Self.edited { $0["pre_tokenizer"] = ["type": "Whitespace"] }, "Whitespace is not"),
            (try Self.edited { $0["pre_tokenizer"] = split }, "Split pattern a|b has no scanner"),
            (try Self.edited { $0["decoder"] = ["type": "Metaspace"] }, "decoder is not ByteLevel"),
            (try Self.edited { $0["post_processor"] = ["type": "Bert"] }, "post_processor Bert"),
            (try Self.model("type", "Unigram"), "model.type is not BPE"),
            (try Self.model("dropout", 0.1), "model.dropout is set"),
            (try Self.model("merges", ["a b c"]), "a merge of two tokens and a space"),
            (try Self.model("merges", ["a 漢"]), "merge 0 needs \"漢\", which is not in model.vocab"),
            (try Self.model("vocab", ["a": 0]), "model.vocab has no token for the byte 0"),
            (try Self.model("vocab", ["a": 1, "b": 1]), "id 1 belongs to"),
            (try Self.model("vocab", ["a": -1]), "token \"a\" has id -1; ids go from 0 to"),
            (try Self.model("vocab", ["a": 1 << 40]), "has id 1099511627776; ids go from 0 to"),
            (
                try Self.edited {
                    $0["added_tokens"] = [["id": 9999, "content": "<x>", "lstrip": true]]
                }, "added token \"<x>\" has lstrip, which is not supported"
            ),
            (
                try Self.edited { $0["added_tokens"] = [["id": 5, "content": "<x>"]] },
                "id 5 belongs to"
            ),
        ]
        for (json, expected) in cases {
            let message = message(json)
            #expect(message.hasPrefix("tokenizer.json: "))
            #expect(message.contains(expected), "\(message)")
            #expect(!message.contains("\n"))
        }
    }

    @Test func `a damaged file is refused where the damage is`() throws {
        let whole = try Self.edited { _ in }
        #expect(message(Array(whole.prefix(whole.count / 2))).contains("not JSON at byte"))
        #expect(message([]).contains("not JSON at byte 0"))
        #expect(message(whole + Array("{}".utf8)).contains("expected the end"))
        let nested = Array(String(repeating: "[", count: 100_000).utf8)
        #expect(message(nested).contains("not JSON at byte 0"))
        let deep = Array("{\"a\":\(String(repeating: "[", count: 100_000))".utf8)
        #expect(message(deep).contains("levels"))
    }

    @Test func `a configuration that names no token is refused`() throws {
        let whole = try Self.edited { _ in }
        #expect(
            message(whole, #"{"bos_token": "<none>"}"#)
                == "tokenizer_config.json: bos_token \"<none>\" is not a token of the vocabulary")
        #expect(message(whole, "[").hasPrefix("tokenizer_config.json: not JSON"))
        #expect(message(whole, "{}").isEmpty)
    }

    @Test func `a missing directory is one line that names the file`() {
        #expect {
            try Tokenizer(directory: URL(filePath: "/nonexistent"))
        } throws: {
            "\($0)" == "/nonexistent/tokenizer.json: there is no such file"
        }
    }

    @Test func `add_bos_token adds what the post-processor does not`() throws {
        let json = try Self.edited { $0["post_processor"] = NSNull() }
        let name = "<｜begin▁of▁sentence｜>"
        let with = try Tokenizer(
            tokenizerJSON: json,
            configurationJSON: Array(#"{"add_bos_token": true, "bos_token": "\#(name)"}"#.utf8))
        let without = try Tokenizer(tokenizerJSON: json)
        #expect(with.encode("Hello").first == with.beginningOfSequenceID)
        #expect(Array(with.encode("Hello").dropFirst()) == without.encode("Hello"))
        #expect(with.encode("Hello", addSpecialTokens: false) == without.encode("Hello"))
    }

    /// The splits of DeepSeek-V2's `tokenizer.json`.
    private static var deepSeekV2: [[String: Any]] {
        let patterns = [
            "[\r\n]", #"\s?["# + v2Letters + "]+", #"\s?[!-/:-~！-／：-～‘-‟　-。]+"#, #"\s+$"#,
            "[一-龥ࠀ-一가-\u{d7ff}]+",
        ]
        return stages(patterns)
    }

    /// - Parameter removing: Whether what does not match is removed.
    private static func stages(
        _ patterns: [String], removing: Bool = false
    ) -> [[String: Any]] {
        let behavior = removing ? "Removed" : "Isolated"
        return patterns.map {
            [
                "type": "Split", "pattern": ["Regex": $0], "behavior": behavior,
                "invert": removing,
            ]
        }
    }

    /// The split patterns of Llama-3 (and GLM), Qwen, Kimi and GPT-4o (MiniMax-M2, gpt-oss), as
    /// their files spell them.
    private static let splits: [String: String] = {
        let signs = #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        let ending = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
        let word = ending + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"#
        let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#
        let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#
        let begin = #"[^\r\n\p{L}\p{N}]?"#
        let kimi = [
            #"[\p{Han}]+"#, begin + upper + "*" + lower + "+" + ending + "?",
            begin + upper + "+" + lower + "*" + ending + "?", #"\p{N}{1,3}"#,
        ]
        let (anyUpper, anyLower) = (
            #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
        )
        let cased = [
            begin + anyUpper + "*" + anyLower + "+" + ending + "?",
            begin + anyUpper + "+" + anyLower + "*" + ending + "?", #"\p{N}{1,3}"#,
        ]
        return [
            "llama3": word + #"\p{N}{1,3}"# + signs, "qwen": word + #"\p{N}"# + signs,
            "kimi": kimi.joined(separator: "|") + signs,
            "o200k": cased.joined(separator: "|")
                + signs.replacing(#"[\r\n]*"#, with: #"[\r\n/]*"#),
        ]
    }()

    /// The letters of its words.
    private static let v2Letters =
        "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-Ρ"
        + "Σ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
        + "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂ"
        + "ℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛ"
        + "Ꜣ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟"
        + "𞤀-𞥃"

    /// Pre-tokenizers of other published byte-level models, with the committed vocabulary.
    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil),
        arguments: [
            "gpt2", "digits", "deepseek-v2", "llama3", "qwen", "kimi", "o200k", "o200k-removed",
        ])
    func `other pre-tokenizers cut where Hugging Face's do`(kind: String) throws {
        let json = try Self.edited { values in
            values["post_processor"] = NSNull()
            let bytes: [String: Any] = [
                "type": "ByteLevel", "add_prefix_space": false, "use_regex": true,
                "trim_offsets": false,
            ]
            let digits: [String: Any] = ["type": "Digits", "individual_digits": true]
            let name = kind.replacing("-removed", with: "")
            let split =
                Self.splits[name].map { Self.stages([$0], removing: kind != name) } ?? []
            if kind == "qwen" { values["normalizer"] = ["type": "NFC"] }
            if kind == "llama3" {
                var model = try #require(values["model"] as? [String: Any])
                model["ignore_merges"] = true
                values["model"] = model
            }
            let stages =
                switch kind {
                case "llama3", "qwen", "kimi", "o200k", "o200k-removed":
                    split + [bytes.merging(["use_regex": false]) { $1 }]
                case "gpt2": [bytes]
                case "digits": [digits, bytes]
                default: Self.deepSeekV2 + [digits, bytes.merging(["use_regex": false]) { $1 }]
                }
            values["pre_tokenizer"] =
                ["type": "Sequence", "pretokenizers": stages] as [String: Any]
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let file = folder.appending(path: "tokenizer.json")
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data(json).write(to: file)
        let count = ProcessInfo.processInfo.environment["APUS_TOKENIZER_CASES"] ?? "2000"
        let output = try python("tokenizer_cases.py", [file.path, count, "11"])
        try checkTokenizer(
            output.split(separator: "\n").dropFirst(), Tokenizer(directory: folder))
    }

    /// `APUS_TIKTOKEN` may name a folder of tiktoken_cases.py, its output in cases.jsonl.
    @Test func `a tiktoken.model gives the ids that tiktoken gives`() throws {
        let small = TokenizerTests.golden.appending(path: "../tokenizer-kimi").standardized
        let other = ProcessInfo.processInfo.environment["APUS_TIKTOKEN"]
        let folder = other.map { URL(filePath: $0) } ?? small
        let lines = try String(
            contentsOf: folder.appending(path: "cases.jsonl"), encoding: .utf8)
        let tokenizer = try Tokenizer(directory: folder)
        try checkTokenizer(lines.split(separator: "\n")[...], tokenizer)
        #expect(tokenizer.beginningOfSequenceID == tokenizer.id(of: "[BOS]"))
        #expect(tokenizer.id(of: "<|reserved_token_\(tokenizer.vocabularySize - 1)|>") != nil)
    }

    @Test func `a tiktoken.model that cannot be read is refused where the fault is`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func message(_ model: String, _ configuration: String) throws -> String {
            try Data(model.utf8).write(to: folder.appending(path: "tiktoken.model"))
            try Data(configuration.utf8).write(to: folder.appending(path: "tokenizer_config.json"))
            do {
                _ = try Tokenizer(directory: folder)
                return ""
            } catch { return error.description }
        }
        let kimi = #"{"tokenizer_class": "TikTokenTokenizer"}"#
        #expect(try message("YQ== 0", "{}").contains("of without tokenizer_class is not known"))
        #expect(
            try message("", #"{"tokenizer_class": "QWenTokenizer"}"#).contains("of QWenTokenizer"))
        #expect(try message("YQ== 0\n?? 1", kimi).contains("line 2 is no token in base 64"))
        #expect(try message("YQ== 0\nYg==", kimi).contains("line 2 is no token in base 64"))
        #expect(try message("YQ== 0\nYg== 0", kimi).contains("id 0 belongs to"))
        #expect(try message("YQ== 0\nYg== 7", kimi).contains("2 tokens have ranks up to 7"))
        #expect(try message("YQ== 0\nYg== 1", kimi).contains("no token for the byte 0"))
        #expect(try message("", "[").contains("tokenizer_config.json: not JSON"))
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil))
    func `the character table is the one Hugging Face's tokenizers match with`() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Sources/Language/Tokenizer/CharacterTable.swift")
        #expect(try python("character_table.py", [file.standardized.path]) == "same\n")
    }

    @Test func `a character shows when its last byte is there and not before`() throws {
        let tokenizer = try TokenizerTests.tokenizer()
        let ids = "a😀".utf8.map { byte in
            (0 ..< tokenizer.vocabularySize).first { Array(tokenizer.bytes(of: $0)) == [byte] }!
        }
        var decoder = StreamingDecoder(tokenizer: tokenizer)
        #expect(ids.map { decoder.append($0) } == ["a", "", "", "", "😀"])
        #expect(decoder.finish() == "")
        // A character that is cut off becomes U+FFFD as soon as it cannot be finished.
        #expect([ids[1], ids[2], ids[0]].map { decoder.append($0) } == ["", "", "\u{FFFD}a"])
        #expect(decoder.append(ids[1]) + decoder.finish() == "\u{FFFD}")
    }
}
