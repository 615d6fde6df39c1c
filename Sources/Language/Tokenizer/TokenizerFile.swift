import Encoding

/// What a `tokenizer.json` says, read and checked.
///
/// Supported: byte-level BPE with Split pre-tokenizers that have a scanner, NFC or no normaliser,
/// added tokens without stripping, and ByteLevel or TemplateProcessing post-processors. Anything
/// else is named and refused, because a tokenizer that nearly works gives a model text that it was
/// not trained on.
struct TokenizerFile {
    var vocabulary = Vocabulary()
    var added: [AddedTokens.Token] = []
    var normalizer = Normalizer.none
    var preTokenizer = PreTokenizer(splits: [])
    var encoder: BytePairEncoder
    /// Ids that the post-processor puts before and after a text.
    var prefix: [Int] = []
    var suffix: [Int] = []

    /// - Throws: `TokenizerFault` or `JSONError`.
    init(_ bytes: [UInt8]) throws {
        let top = try TopLevel(bytes)
        normalizer = try Self.normalizer(top.values["normalizer"])
        guard top.model["type"]?.string ?? "BPE" == "BPE" else {
            throw TokenizerFault("model.type is not BPE")
        }
        for key in ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
            let value = top.model[key] ?? .null
            guard value.isNull || value == .string("") else {
                throw TokenizerFault("model.\(key) is set; byte-level BPE has none")
            }
        }
        guard top.model["byte_fallback"]?.bool != true else {
            throw TokenizerFault("model.byte_fallback is set; byte-level BPE has none")
        }
        var reader = JSONReader(bytes)
        try Self.readVocabulary(&reader, at: top.vocabularyStart, into: &vocabulary)
        let ignoreMerges = top.model["ignore_merges"]?.bool ?? false
        let whole = ignoreMerges ? Self.wholePieces(vocabulary) : [:]
        encoder = BytePairEncoder(
            byteTokens: try Self.byteTokens(vocabulary), mergeCount: top.mergeCount,
            wholePieces: whole)
        try Self.readMerges(&reader, at: top.mergesStart, vocabulary, into: &encoder)
        preTokenizer = try PreTokenizer(top.values["pre_tokenizer"])
        guard top.values["decoder"]?["type"]?.string == "ByteLevel" else {
            throw TokenizerFault("decoder is not ByteLevel")
        }
        added = try Self.addedTokens(top.values["added_tokens"], &vocabulary)
        try readPostProcessor(top.values["post_processor"] ?? .null)
    }

    /// The file's values, and where the two long ones (`model.vocab`, `model.merges`) begin.
    private struct TopLevel {
        var values: [String: JSONValue] = [:]
        var model: [String: JSONValue] = [:]
        var vocabularyStart = 0
        var mergesStart = 0
        var mergeCount = 0

        init(_ bytes: [UInt8]) throws {
            var top = TopLevel()
            var reader = JSONReader(bytes)
            try reader.object { key, reader in
                if key == "model" {
                    try top.readModel(&reader)
                } else {
                    top.values[key] = try reader.value()
                }
            }
            try reader.end()
            guard top.vocabularyStart > 0 else { throw TokenizerFault("model.vocab is missing") }
            guard top.mergesStart > 0 else { throw TokenizerFault("model.merges is missing") }
            self = top
        }

        private init() {}

        private mutating func readModel(_ reader: inout JSONReader) throws {
            try reader.object { key, reader in
                switch key {
                case "vocab":
                    vocabularyStart = reader.position
                    try reader.skip()
                case "merges":
                    mergesStart = reader.position
                    try reader.array { _, reader in
                        mergeCount += 1
                        try reader.skip()
                    }
                default: model[key] = try reader.value()
                }
            }
        }
    }

    private static func normalizer(_ value: JSONValue?) throws -> Normalizer {
        guard let value, !value.isNull else { return .none }
        var stages = [value]
        if value["type"]?.string == "Sequence", let list = value["normalizers"]?.array {
            stages = list
        }
        for stage in stages where stage["type"]?.string != "NFC" {
            let type = stage["type"]?.string ?? "without type"
            throw TokenizerFault("normalizer \(type.printable()) is not supported")
        }
        return stages.isEmpty ? .none : .nfc
    }

    private static func readVocabulary(
        _ reader: inout JSONReader, at start: Int, into vocabulary: inout Vocabulary
    ) throws {
        reader.seek(start)
        try reader.members { reader in
            let text = reader.text
            if let fault = vocabulary.insert(text, id: try reader.integer()) {
                throw TokenizerFault(fault)
            }
        }
    }

    static func byteTokens(_ vocabulary: Vocabulary) throws -> [UInt32] {
        try ByteAlphabet.points.enumerated().map { byte, point in
            let text = String(Unicode.Scalar(point)!)
            guard let id = vocabulary.id(of: Array(text.utf8)) else {
                throw TokenizerFault("model.vocab has no token for the byte \(byte) (\"\(text)\")")
            }
            return UInt32(id)
        }
    }

    private static func wholePieces(_ vocabulary: Vocabulary) -> [ArraySlice<UInt8>: UInt32] {
        var pieces: [ArraySlice<UInt8>: UInt32] = [:]
        for id in 0 ..< vocabulary.idLimit where !vocabulary.text(id).isEmpty {
            var bytes: [UInt8] = []
            if ByteAlphabet.decode(vocabulary.text(id), into: &bytes) {
                pieces[bytes[...]] = UInt32(id)
            }
        }
        return pieces
    }

    private static func readMerges(
        _ reader: inout JSONReader, at start: Int, _ vocabulary: Vocabulary,
        into encoder: inout BytePairEncoder
    ) throws {
        reader.seek(start)
        try reader.array { rank, reader in
            let (left, right) = try reader.merge()
            let ids = [left, right, left + right].map { (text: $0, id: vocabulary.id(of: $0)) }
            if let missing = ids.first(where: { $0.id == nil }) {
                let name = String(decoding: missing.text, as: UTF8.self).printable()
                throw TokenizerFault("merge \(rank) needs \"\(name)\", which is not in model.vocab")
            }
            encoder.insert(left: ids[0].id!, right: ids[1].id!, rank: rank, id: ids[2].id!)
        }
    }
}

extension JSONReader {
    /// Reads a merge: `"a b"` or `["a", "b"]`.
    fileprivate mutating func merge() throws -> ([UInt8], [UInt8]) {
        if try peek() == UInt8(ascii: "\"") {
            try stringBytes()
            let parts = text.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw malformed("a merge of two tokens and a space") }
            return (Array(parts[0]), Array(parts[1]))
        }
        var parts: [[UInt8]] = []
        try array { _, reader in
            guard parts.count < 2 else { throw reader.malformed("a merge of two tokens") }
            try reader.stringBytes()
            parts.append(reader.text)
        }
        guard parts.count == 2 else { throw malformed("a merge of two tokens") }
        return (parts[0], parts[1])
    }
}
