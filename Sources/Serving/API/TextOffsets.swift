import Language

/// Where tokens begin in the text of a choice, in characters as Python counts them.
struct TextOffsets {
    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    /// Characters that have begun.
    private var characters = 0

    init(_ tokenizer: Tokenizer, skipsSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.skipsSpecialTokens = skipsSpecialTokens
    }

    /// The place of the next token.
    ///
    /// A token in the middle of a character has that character's place. A token that is left out
    /// of the text has the place of what follows it.
    mutating func append(_ token: Int) -> Int {
        if skipsSpecialTokens, tokenizer.isSpecial(token) { return characters }
        let bytes = tokenizer.bytes(of: token)
        let isInside = bytes.first.map { Self.continues($0) } ?? false
        defer { characters += bytes.count { !Self.continues($0) } }
        return isInside ? max(0, characters - 1) : characters
    }

    /// Whether a byte of UTF-8 continues a character.
    private static func continues(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
}
