/// Turns a stream of token ids into text without ever showing half a character.
///
/// Bytes that may still become a character are held back until they do, cannot any more (then
/// each maximal broken part becomes one U+FFFD, as when all is decoded at once), or the stream
/// finishes. What `append` and `finish` return, joined, equals `decode` of all the ids.
public struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    /// At most three bytes: the beginning of a character.
    private var pending: [UInt8] = []

    public init(tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
    }

    /// The text that became certain with this token; often empty inside a character.
    public mutating func append(_ id: Int) -> String {
        if skipSpecialTokens && tokenizer.isSpecial(id) { return "" }
        pending.append(contentsOf: tokenizer.bytes(of: id))
        let complete = pending.count - Self.unfinishedCount(pending)
        let text = String(decoding: pending[..<complete], as: UTF8.self)
        pending.removeFirst(complete)
        return text
    }

    /// The rest: U+FFFD if the stream ends inside a character.
    public mutating func finish() -> String {
        defer { pending.removeAll() }
        return String(decoding: pending, as: UTF8.self)
    }

    /// How many bytes at the end are the beginning of a character that more bytes could finish.
    static func unfinishedCount(_ bytes: [UInt8]) -> Int {
        for count in 1 ... 3 where count <= bytes.count {
            let lead = bytes[bytes.count - count]
            if lead & 0xC0 == 0x80 { continue }
            let needed =
                lead >= 0xF5 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1
            guard count < needed else { return 0 }
            if count > 1 {
                // The second byte is narrower for some leads (Unicode 16, table 3-7).
                let second = bytes[bytes.count - count + 1]
                let allowed: ClosedRange<UInt8> =
                    switch lead {
                    case 0xE0: 0xA0 ... 0xBF
                    case 0xED: 0x80 ... 0x9F
                    case 0xF0: 0x90 ... 0xBF
                    case 0xF4: 0x80 ... 0x8F
                    default: 0x80 ... 0xBF
                    }
                guard allowed.contains(second) else { return 0 }
            }
            return count
        }
        return 0
    }
}
