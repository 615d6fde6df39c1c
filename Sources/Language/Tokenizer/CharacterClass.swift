/// What the split patterns ask of a character, one bit each.
struct CharacterClass: OptionSet, Sendable {
    let rawValue: UInt16

    static let letter = CharacterClass(rawValue: 1)
    static let mark = CharacterClass(rawValue: 2)
    static let number = CharacterClass(rawValue: 4)
    static let punctuation = CharacterClass(rawValue: 8)
    static let symbol = CharacterClass(rawValue: 16)
    static let space = CharacterClass(rawValue: 32)
    /// CR and LF, which are also `space`.
    static let newline = CharacterClass(rawValue: 64)
    /// The range `[一-龥぀-ゟ゠-ヿ]`: ideographs and kana.
    static let ideograph = CharacterClass(rawValue: 128)
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`: what begins a word of Kimi's.
    static let beginsWord = CharacterClass(rawValue: 256)
    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`: what a word of Kimi's goes on with.
    static let continuesWord = CharacterClass(rawValue: 512)
    /// `\p{Han}`
    static let han = CharacterClass(rawValue: 1024)
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what begins a word of GPT-4o's.
    static let beginsAnyWord = CharacterClass(rawValue: 2048)
    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what a word of GPT-4o's goes on with.
    static let continuesAnyWord = CharacterClass(rawValue: 4096)

    /// What begins a word, and what it goes on with: of Kimi's pattern, and of GPT-4o's.
    static let kimiWords = (begins: beginsWord, continues: continuesWord)
    static let anyWords = (begins: beginsAnyWord, continues: continuesAnyWord)

    /// The class of each code point.
    private static let table: [UInt16] = {
        var table = [UInt16](repeating: 0, count: 0x110000)
        func mark(_ range: some Sequence<Int>, _ classes: CharacterClass) {
            for point in range { table[point] |= classes.rawValue }
        }
        for (points, letter) in runs(CharacterTable.categories) { mark(points, category(letter)) }
        for (points, _) in runs(CharacterTable.han) {
            for point in points {
                table[point] |= han.rawValue
                table[point] &= ~(beginsWord.rawValue | continuesWord.rawValue)
            }
        }
        for range in CharacterTable.whiteSpace { mark(range, .space) }
        mark([0x0A, 0x0D], .newline)
        mark(0x4E00 ... 0x9FA5, .ideograph)
        mark(0x3040 ... 0x30FF, .ideograph)
        return table
    }()

    private static func runs(_ text: StaticString) -> [(Range<Int>, Character)] {
        var point = 0
        return text.description.split(whereSeparator: \.isWhitespace).map { run in
            let letter = run.firstIndex { $0.isUppercase }!
            point += Int(run[..<letter], radix: 36) ?? 0
            let length = Int(run[run.index(after: letter)...], radix: 36) ?? 1
            defer { point += length }
            return (point ..< point + length, run[letter])
        }
    }

    private static func category(_ letter: Character) -> CharacterClass {
        switch letter {
        case "U": [.letter, .beginsWord, .beginsAnyWord]
        case "D": [.letter, .continuesWord, .continuesAnyWord]
        case "L": [.letter, .beginsWord, .continuesWord, .beginsAnyWord, .continuesAnyWord]
        case "M": [.mark, .beginsWord, .continuesWord, .beginsAnyWord, .continuesAnyWord]
        case "N": .number
        case "P": .punctuation
        default: .symbol
        }
    }

    /// For each byte of UTF-8 text, the class of the character it belongs to: so patterns step
    /// over bytes and never decode.
    static func classes(ofUTF8 text: [UInt8]) -> [UInt16] {
        let table = table
        var classes: [UInt16] = []
        classes.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let lead = text[index]
            if lead < 0x80 {
                classes.append(table[Int(lead)])
                index += 1
                continue
            }
            let length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2
            precondition(index + length <= text.count, "text is not UTF-8 at byte \(index)")
            var point = Int(lead) & (0x7F >> length)
            for next in index + 1 ..< index + length {
                point = point << 6 | Int(text[next] & 0x3F)
            }
            let value = table[point]
            for _ in 0 ..< length { classes.append(value) }
            index += length
        }
        return classes
    }
}
