import Encoding
import Foundation

extension TokenizerFile {
    /// Tokens after the vocabulary that have a name even where the configuration gives none.
    private static let reservedTokenCount = 256

    /// Reads a `tiktoken.model` (per line a token in base 64 and its rank) as Kimi's tokenizer
    /// does.
    ///
    /// The file holds no split pattern; the class that the configuration names has it in code.
    ///
    /// - Throws: `TokenizerFault`.
    init(tiktoken bytes: [UInt8], configuration: JSONValue) throws {
        let type = configuration["tokenizer_class"]?.string ?? "without tokenizer_class"
        guard type == "TikTokenTokenizer" else {
            throw TokenizerFault(
                "the split pattern of \(type.printable()) is not known; TikTokenTokenizer's is")
        }
        var ranks: [ArraySlice<UInt8>: UInt32] = [:]
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n")).enumerated() {
            let parts = line.split(separator: UInt8(ascii: " "))
            guard parts.count == 2, let token = Data(base64Encoded: Data(parts[0])),
                let rank = Int(String(decoding: parts[1], as: UTF8.self))
            else { throw TokenizerFault("line \(index + 1) is no token in base 64 and its rank") }
            var text: [UInt8] = []
            for byte in token { text += Self.spelling[Int(byte)] }
            if let fault = vocabulary.insert(text, id: rank) { throw TokenizerFault(fault) }
            ranks[[UInt8](token)[...]] = UInt32(rank)
        }
        guard vocabulary.idLimit == ranks.count else {
            throw TokenizerFault("\(ranks.count) tokens have ranks up to \(vocabulary.idLimit - 1)")
        }
        // A pair merges when its bytes are a token, whichever two tokens they are of.
        var merges: [(left: UInt32, right: UInt32, rank: UInt32)] = []
        for (token, rank) in ranks where token.count > 1 {
            for cut in token.indices.dropFirst() {
                if let left = ranks[token[..<cut]], let right = ranks[token[cut...]] {
                    merges.append((left, right, rank))
                }
            }
        }
        encoder = BytePairEncoder(
            byteTokens: try Self.byteTokens(vocabulary), mergeCount: merges.count,
            wholePieces: ranks)
        for merge in merges {
            encoder.insert(
                left: Int(merge.left), right: Int(merge.right), rank: Int(merge.rank),
                id: Int(merge.rank))
        }
        preTokenizer = PreTokenizer(splits: [.kimiWords])
        try readReserved(configuration["added_tokens_decoder"] ?? .null)
    }

    private static let spelling = ByteAlphabet.points.map {
        Array(String(Unicode.Scalar($0)!).utf8)
    }

    private mutating func readReserved(_ named: JSONValue) throws {
        let first = vocabulary.idLimit
        let ids = first ..< first + Self.reservedTokenCount
        if let other = named.object?.first(where: { !ids.contains(Int($0.key) ?? -1) }) {
            throw TokenizerFault(
                "added token \(other.key.printable()) is outside \(first)...\(ids.upperBound - 1)")
        }
        for id in ids {
            let entry = named["\(id)"]
            let content = entry?["content"]?.string ?? "<|reserved_token_\(id)|>"
            if let fault = vocabulary.insert(Array(content.utf8), id: id) {
                throw TokenizerFault(fault)
            }
            added.append(
                AddedTokens.Token(
                    id: id, content: content, special: entry?["special"]?.bool ?? true,
                    normalized: false))
        }
    }
}
