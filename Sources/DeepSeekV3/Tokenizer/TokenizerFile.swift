/// What a `tokenizer.json` says, read and checked.
///
/// Supported: byte-level BPE with Split pre-tokenizers that have a scanner, no normaliser, added
/// tokens without stripping, and ByteLevel or TemplateProcessing post-processors. Anything else
/// is named and refused: a tokenizer that nearly works gives a model text it was not trained on.
struct TokenizerFile {
    var vocabulary = Vocabulary()
    var added: [AddedTokens.Token] = []
    var preTokenizer = PreTokenizer(splits: [])
    var encoder: BytePairEncoder
    /// Ids that the post-processor puts before and after a text.
    var prefix: [Int] = []
    var suffix: [Int] = []

    /// - Throws: `TokenizerFault` or `JSONError`.
    init(_ bytes: [UInt8]) throws {
        let top = try TopLevel(bytes)
        try Self.checkNormalizer(top.values["normalizer"])
        guard top.model["type"]?.string ?? "BPE" == "BPE" else {
            throw TokenizerFault("model.type is not BPE")
        }
        for key in ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
            let value = top.model[key] ?? .null
            guard value.isNull || value == .string("") else {
                throw TokenizerFault("model.\(key) is set; byte-level BPE has none")
            }
        }
        guard top.model["byte_fallback"]?.boolean != true else {
            throw TokenizerFault("model.byte_fallback is set; byte-level BPE has none")
        }
        var cursor = JSONCursor(bytes)
        try Self.readVocabulary(&cursor, at: top.vocabularyStart, into: &vocabulary)
        let ignoreMerges = top.model["ignore_merges"]?.boolean ?? false
        let whole = ignoreMerges ? Self.wholePieces(vocabulary) : [:]
        encoder = BytePairEncoder(
            byteTokens: try Self.byteTokens(vocabulary), mergeCount: top.mergeCount,
            wholePieces: whole)
        try Self.readMerges(&cursor, at: top.mergesStart, vocabulary, into: &encoder)
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
            var cursor = JSONCursor(bytes)
            try cursor.object { cursor, key in
                if key == "model" {
                    try top.readModel(&cursor)
                } else {
                    top.values[key] = try cursor.value(depth: 1)
                }
            }
            try cursor.end()
            guard top.vocabularyStart > 0 else { throw TokenizerFault("model.vocab is missing") }
            guard top.mergesStart > 0 else { throw TokenizerFault("model.merges is missing") }
            self = top
        }

        private init() {}

        private mutating func readModel(_ cursor: inout JSONCursor) throws {
            try cursor.object(depth: 1) { cursor, key in
                switch key {
                case "vocab":
                    vocabularyStart = cursor.position
                    try cursor.skip(depth: 2)
                case "merges":
                    mergesStart = cursor.position
                    mergeCount = 0
                    try cursor.array(depth: 2) {
                        mergeCount += 1
                        try $0.skip(depth: 3)
                    }
                default: model[key] = try cursor.value(depth: 2)
                }
            }
        }
    }

    private static func checkNormalizer(_ value: JSONValue?) throws {
        guard let value, !value.isNull else { return }
        let isEmpty = value["type"]?.string == "Sequence" && value["normalizers"]?.array == []
        guard isEmpty else {
            let type = value["type"]?.string ?? "without type"
            throw TokenizerFault("normalizer \(type) is not supported")
        }
    }

    private static func readVocabulary(
        _ cursor: inout JSONCursor, at start: Int, into vocabulary: inout Vocabulary
    ) throws {
        cursor.seek(start)
        try cursor.entries { cursor in
            let text = cursor.text
            let id = try cursor.value(after: ":")
            if let fault = vocabulary.insert(text, id: id) { throw TokenizerFault(fault) }
        }
    }

    private static func byteTokens(_ vocabulary: Vocabulary) throws -> [UInt32] {
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
            ByteAlphabet.decode(vocabulary.text(id), into: &bytes)
            pieces[bytes[...]] = UInt32(id)
        }
        return pieces
    }

    private static func readMerges(
        _ cursor: inout JSONCursor, at start: Int, _ vocabulary: Vocabulary,
        into encoder: inout BytePairEncoder
    ) throws {
        cursor.seek(start)
        var rank = 0
        try cursor.array { cursor in
            let (left, right) = try cursor.pair()
            let ids = [left, right, left + right].map { (text: $0, id: vocabulary.id(of: $0)) }
            if let missing = ids.first(where: { $0.id == nil }) {
                let name = String(decoding: missing.text, as: UTF8.self)
                throw TokenizerFault("merge \(rank) needs \"\(name)\", which is not in model.vocab")
            }
            encoder.insert(left: ids[0].id!, right: ids[1].id!, rank: rank, id: ids[2].id!)
            rank += 1
        }
    }
}

extension JSONCursor {
    /// Calls `body` at the colon after each key of an object, with the key in `text`.
    fileprivate mutating func entries(_ body: (inout JSONCursor) throws -> Void) throws {
        try expect("{")
        if accept("}") { return }
        repeat {
            try string()
            try body(&self)
        } while accept(",")
        try expect("}")
    }

    fileprivate mutating func value(after character: Unicode.Scalar) throws -> Int {
        try expect(character)
        return try integer()
    }

    /// A merge: `"a b"` or `["a", "b"]`.
    fileprivate mutating func pair() throws -> ([UInt8], [UInt8]) {
        if peek() == UInt8(ascii: "\"") {
            try string()
            let parts = text.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw fault("a merge is not two tokens and a space") }
            return (Array(parts[0]), Array(parts[1]))
        }
        var parts: [[UInt8]] = []
        try array {
            guard parts.count < 2 else { throw $0.fault("a merge has more than two tokens") }
            try $0.string()
            parts.append($0.text)
        }
        guard parts.count == 2 else { throw fault("a merge does not have two tokens") }
        return (parts[0], parts[1])
    }
}
