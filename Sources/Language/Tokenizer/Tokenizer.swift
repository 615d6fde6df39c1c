import Encoding
public import Foundation

/// Text to token ids and back: byte-level BPE, as a checkpoint's `tokenizer.json` defines it.
///
/// Gives the ids that Hugging Face's `tokenizers` gives for the same file. Time is linear in the
/// text (n log n inside a single word of more than 64 bytes).
public final class Tokenizer: Sendable {
    /// Larger than any published `tokenizer.json` (DeepSeek-V3's is 7.8 MB).
    static let maximumFileBytes = 256 << 20

    private let vocabulary: Vocabulary
    private let added: AddedTokens
    private let normalizer: Normalizer
    private let preTokenizer: PreTokenizer
    private let encoder: BytePairEncoder
    private let specialIDs: Set<Int>
    private let prefix: [Int]
    private let suffix: [Int]
    /// The bytes of all tokens, and where each token's lie.
    private let tokenBytes: [UInt8]
    private let tokenRanges: [Range<Int>]

    /// The token that begins a text, `bos_token` of `tokenizer_config.json`.
    public let beginningOfSequenceID: Int?
    /// The token that ends a text, `eos_token` of `tokenizer_config.json`.
    public let endOfSequenceID: Int?

    /// Reads `tokenizer.json` (or else `tiktoken.model`) and, where present,
    /// `tokenizer_config.json` of a checkpoint.
    ///
    /// - Throws: `LanguageError.file`, which names the file and what in it is wrong or not
    ///   supported.
    public convenience init(directory: URL) throws(LanguageError) {
        let file = directory.appending(path: "tokenizer.json")
        let configuration = directory.appending(path: "tokenizer_config.json")
        let hasConfiguration = FileManager.default.fileExists(atPath: configuration.path)
        let settings = hasConfiguration ? try Self.read(configuration) : nil
        let ranks = directory.appending(path: "tiktoken.model")
        guard
            FileManager.default.fileExists(atPath: file.path)
                || !FileManager.default.fileExists(atPath: ranks.path)
        else {
            let bytes = try Self.read(ranks)
            let values = try Self.naming(configuration.path) {
                try JSONValue.parse(settings ?? Array("{}".utf8))
            }
            let contents = try Self.naming(ranks.path) {
                try TokenizerFile(tiktoken: bytes, configuration: values)
            }
            try self.init(contents, settings, configurationFile: configuration.path)
            return
        }
        try self.init(
            tokenizerJSON: Self.read(file), configurationJSON: settings, file: file.path,
            configurationFile: configuration.path)
    }

    /// Reads the contents of `tokenizer.json` and `tokenizer_config.json`.
    ///
    /// - Parameters:
    ///   - file: What errors call the first.
    ///   - configurationFile: What errors call the second.
    public convenience init(
        tokenizerJSON: [UInt8], configurationJSON: [UInt8]? = nil,
        file: String = "tokenizer.json", configurationFile: String = "tokenizer_config.json"
    ) throws(LanguageError) {
        let contents = try Self.naming(file) { try TokenizerFile(tokenizerJSON) }
        try self.init(contents, configurationJSON, configurationFile: configurationFile)
    }

    private init(
        _ contents: TokenizerFile, _ configurationJSON: [UInt8]?, configurationFile: String
    ) throws(LanguageError) {
        let configuration = try Self.naming(configurationFile) {
            try TokenizerConfiguration(configurationJSON, contents.vocabulary)
        }
        vocabulary = contents.vocabulary
        added = AddedTokens(contents.added, normalizer: contents.normalizer)
        normalizer = contents.normalizer
        preTokenizer = contents.preTokenizer
        encoder = contents.encoder
        specialIDs = Set(contents.added.filter(\.special).map(\.id))
        beginningOfSequenceID = configuration.beginningOfSequenceID
        endOfSequenceID = configuration.endOfSequenceID
        var prefix = contents.prefix
        var suffix = contents.suffix
        if configuration.addsBeginning, let id = beginningOfSequenceID, !prefix.contains(id) {
            prefix.insert(id, at: 0)
        }
        if configuration.addsEnd, let id = endOfSequenceID, !suffix.contains(id) {
            suffix.append(id)
        }
        self.prefix = prefix
        self.suffix = suffix
        var bytes: [UInt8] = []
        var ranges: [Range<Int>] = []
        for id in 0 ..< contents.vocabulary.idLimit {
            let start = bytes.count
            ByteAlphabet.decode(contents.vocabulary.text(id), into: &bytes)
            ranges.append(start ..< bytes.count)
        }
        tokenBytes = bytes
        tokenRanges = ranges
    }

    private static func read(_ file: URL) throws(LanguageError) -> [UInt8] {
        let path = file.path
        return [UInt8](
            try WholeFile.read(path, limit: maximumFileBytes) {
                LanguageError.file(path, fact: "\($0)")
            })
    }

    private static func naming<Value>(
        _ file: String, _ body: () throws -> Value
    ) throws(LanguageError) -> Value {
        do {
            return try body()
        } catch let fault as TokenizerFault {
            throw LanguageError.file(file, fact: fault.message)
        } catch {
            throw LanguageError.file(file, fact: "\(error)")
        }
    }

    // MARK: Vocabulary

    /// One more than the largest id: what a table indexed by token needs.
    ///
    /// Models pad their embedding beyond it.
    public var vocabularySize: Int { vocabulary.idLimit }

    /// A token as the file spells it (bytes in the byte-level alphabet), or nil for an id that no
    /// token has.
    public func token(_ id: Int) -> String? {
        vocabulary.text(id).isEmpty ? nil : vocabulary.name(id)
    }

    /// The id of a token as the file spells it.
    public func id(of token: String) -> Int? { vocabulary.id(of: Array(token.utf8)) }

    /// The bytes a token stands for; none for an id that no token has.
    ///
    /// They need not be whole characters.
    public func bytes(of id: Int) -> ArraySlice<UInt8> {
        tokenRanges.indices.contains(id) ? tokenBytes[tokenRanges[id]] : []
    }

    /// Whether a token marks structure and is left out of text for people.
    public func isSpecial(_ id: Int) -> Bool { specialIDs.contains(id) }

    // MARK: Encoding

    /// The ids of a text.
    ///
    /// - Parameters:
    ///   - addSpecialTokens: Whether to put around the text what the post-processor (or
    ///     `add_bos_token`) says. A chat prompt already has it.
    ///   - recogniseAddedTokens: Whether text that spells an added token, such as
    ///     `<｜Assistant｜>`, becomes that token. Without it, hostile text cannot forge structure.
    public func encode(
        _ text: String, addSpecialTokens: Bool = true, recogniseAddedTokens: Bool = true
    ) -> [Int] {
        let bytes = Array(text.utf8)
        var ids = addSpecialTokens ? prefix : []
        var scratch = BytePairEncoder.Scratch()
        let pieces =
            recogniseAddedTokens
            ? added.pieces(of: bytes) : [.text(normalizer.normalize(bytes[...]))]
        for piece in pieces {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let words): encode(words, into: &ids, &scratch)
            }
        }
        if addSpecialTokens { ids.append(contentsOf: suffix) }
        return ids
    }

    private func encode(
        _ bytes: [UInt8], into ids: inout [Int], _ scratch: inout BytePairEncoder.Scratch
    ) {
        var start = 0
        for end in preTokenizer.pieceEnds(of: bytes) {
            encoder.encode(bytes, start ..< end, into: &ids, &scratch)
            start = end
        }
    }

    // MARK: Decoding

    /// The text of ids.
    ///
    /// Bytes that are not UTF-8 become U+FFFD; ids that no token has, nothing.
    public func decode(_ ids: some Sequence<Int>, skipSpecialTokens: Bool = true) -> String {
        var result: [UInt8] = []
        for id in ids where !(skipSpecialTokens && isSpecial(id)) {
            result.append(contentsOf: bytes(of: id))
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// What of `tokenizer_config.json` concerns ids.
private struct TokenizerConfiguration {
    var beginningOfSequenceID: Int?
    var endOfSequenceID: Int?
    var addsBeginning = false
    var addsEnd = false

    init(_ bytes: [UInt8]?, _ vocabulary: Vocabulary) throws {
        guard let bytes else { return }
        var reader = JSONReader(bytes)
        let values = try reader.value()
        try reader.end()
        func id(_ key: String) throws -> Int? {
            // Either the token's text, or an object that holds it.
            guard let name = values[key]?.string ?? values[key]?["content"]?.string else {
                return nil
            }
            guard let id = vocabulary.id(of: Array(name.utf8)) else {
                throw TokenizerFault(
                    "\(key) \"\(name.printable())\" is not a token of the vocabulary")
            }
            return id
        }
        beginningOfSequenceID = try id("bos_token")
        endOfSequenceID = try id("eos_token")
        addsBeginning = values["add_bos_token"]?.bool ?? false
        addsEnd = values["add_eos_token"]?.bool ?? false
    }
}
