import Encoding
import Foundation
import Language
import Tensors

/// Text, tokenized once: a memory-mapped file of documents.
///
/// Layout, little-endian 64-bit words: magic, fingerprint of the tokenizer, documents, tokens, mark
/// of the sources; then where each document begins, one more than documents; then the tokens, 32
/// bits each.
final class TokenFile: Sendable {
    private static let magic: UInt64 = 0x0032_4e4b_5453_5041
    private static let headWords = 5

    private let file: MappedFile
    private let path: String
    /// Documents.
    let documentCount: Int
    /// Tokens of all documents.
    let tokenCount: Int
    /// Of which text it was made: see `mark`.
    let sourceMark: UInt64

    /// Opens a file that `write` made with the same tokenizer; with any for nil.
    init(path: String, fingerprint: UInt64?) throws {
        self.path = path
        file = try MappedFile(path: path)
        guard file.byteCount >= 8 * Self.headWords else {
            throw TrainingError.tokenFile(path, fact: "\(file.byteCount) bytes are no token file")
        }
        let head = Self.words(file.copyBytes(0 ..< 8 * Self.headWords))
        guard head[0] == Self.magic else {
            throw TrainingError.tokenFile(
                path, fact: "is no token file of this version; without it the text is read anew")
        }
        guard head[1] == fingerprint ?? head[1] else {
            throw TrainingError.tokenFile(
                path, fact: "was made with another tokenizer; without it the text is read anew")
        }
        guard let documents = Int(exactly: head[2]), let tokens = Int(exactly: head[3]),
            documents < file.byteCount, tokens < file.byteCount,
            file.byteCount == 8 * (Self.headWords + documents + 1) + 4 * tokens
        else {
            throw TrainingError.tokenFile(
                path, fact: "\(file.byteCount) bytes for \(head[2]) documents, \(head[3]) tokens")
        }
        documentCount = documents
        tokenCount = tokens
        sourceMark = head[4]
    }

    private static func words(_ bytes: [UInt8]) -> [UInt64] {
        stride(from: 0, to: bytes.count, by: 8).map { start in
            (0 ..< 8).reduce(0) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
        }
    }

    /// Where every document begins, and the end of the last.
    func bounds() -> [Int] {
        let start = 8 * Self.headWords
        return Self.words(file.copyBytes(start ..< start + 8 * (documentCount + 1))).map {
            Int(truncatingIfNeeded: $0)
        }
    }

    /// Tokens of a range.
    func tokens(_ range: Range<Int>) -> [Int32] {
        let start = 8 * (Self.headWords + documentCount + 1)
        let bytes = file.copyBytes(start + 4 * range.lowerBound ..< start + 4 * range.upperBound)
        return stride(from: 0, to: bytes.count, by: 4).map { place in
            Int32(
                bitPattern: (0 ..< 4).reduce(0) {
                    $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1))
                })
        }
    }

    /// Tokenizes text files (one document each) and JSONL files (one per line).
    ///
    /// - Parameter field: The key of a JSONL line's text.
    static func write(
        sources: [String], field: String, tokenizer: Tokenizer, fingerprint: UInt64, to path: String
    ) throws {
        var tokens: [UInt8] = []
        var bounds: [UInt64] = [0]
        func add(_ text: String) {
            var ids = tokenizer.encode(text, addSpecialTokens: false)
            if let begin = tokenizer.beginningOfSequenceID, ids.first != begin {
                ids.insert(begin, at: 0)
            }
            if let end = tokenizer.endOfSequenceID, ids.last != end { ids.append(end) }
            for id in ids { tokens += (0 ..< 4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } }
            bounds.append(bounds.last! + UInt64(ids.count))
        }
        for source in sources {
            for text in try documents(of: source, field: field) where !text.isEmpty { add(text) }
        }
        guard bounds.count > 1 else {
            throw TrainingError.missingText(sources.joined(separator: ", "))
        }
        let mark = mark(sources: sources, field: field)
        let head = [magic, fingerprint, UInt64(bounds.count - 1), bounds.last!, mark]
        let bytes = (head + bounds).flatMap { word in
            (0 ..< 8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
        let sink = try FileSink(path: path + ".partial")
        try sink.append(bytes)
        try sink.append(tokens)
        try sink.synchronize()
        try sink.publish(as: path)
    }

    /// The texts of a file: one of a text file, or one per line; one per line of a JSONL file.
    static func documents(
        of path: String, field: String, linesAreDocuments: Bool = false
    ) throws -> [String] {
        let data = try WholeFile.read(path, limit: 1 << 40) {
            TrainingError.tokenFile(path, fact: "\($0)")
        }
        let text = String(decoding: data, as: UTF8.self)
        guard path.hasSuffix(".jsonl") else {
            return linesAreDocuments
                ? text.split(separator: "\n").map { String($0) } : [text]
        }
        return try text.split(separator: "\n").enumerated().map { number, line in
            let object = try? JSONSerialization.jsonObject(with: Data(line.utf8))
            guard let text = (object as? [String: Any])?[field] as? String else {
                throw TrainingError.tokenFile(
                    path, fact: "line \(number + 1) has no text under \(field)")
            }
            return text
        }
    }

    /// A number that tells apart which files a text is read from, as they are now, and under which
    /// key.
    static func mark(sources: [String], field: String) -> UInt64 {
        let words = sources.map { path in
            let found = try? FileManager.default.attributesOfItem(atPath: path)
            let date = (found?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
            return "\(path) \(found?[.size] ?? 0) \(date)"
        }
        return FNV1a.hash(([field] + words).joined(separator: "\n").utf8)
    }

    /// Checks whether documents follow each other and every token is one of a vocabulary.
    func check(vocabularySize: Int) throws {
        let bounds = bounds()
        let isInOrder = bounds.indices.dropFirst().allSatisfy { bounds[$0 - 1] < bounds[$0] }
        guard isInOrder, bounds.first == 0, bounds.last == tokenCount else {
            throw TrainingError.tokenFile(path, fact: "is damaged: documents do not follow")
        }
        for start in stride(from: 0, to: tokenCount, by: 1 << 16) {
            let part = tokens(start ..< min(tokenCount, start + 1 << 16))
            if let token = part.first(where: { !(0 ..< Int32(vocabularySize)).contains($0) }) {
                throw TrainingError.tokenFile(
                    path, fact: "is damaged: token \(token) of a vocabulary of \(vocabularySize)")
            }
        }
    }

    /// A number that tells tokenizers apart: a hash of `tokenizer.json`.
    static func fingerprint(tokenizer directory: String) throws -> UInt64 {
        let path = directory + "/tokenizer.json"
        let data = try WholeFile.read(path, limit: 256 << 20) {
            TrainingError.tokenFile(path, fact: "\($0)")
        }
        return FNV1a.hash(data)
    }
}
