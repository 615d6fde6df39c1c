/// Finds the matches of one split pattern in a piece of text.
///
/// `classes[i]` is the class of the character that byte `i` belongs to, so a run of a class is a
/// run of bytes. A match never ends inside a character, because all its bytes share a class.
struct SplitScanner {
    let split: PreTokenizer.Split
    let classes: [UInt16]

    private typealias Kind = CharacterClass

    /// Appends the ends of the pieces of `piece`: each match, and each stretch without one.
    func cut(_ text: [UInt8], _ piece: Range<Int>, into ends: inout [Int]) {
        if split == .trailingSpace { return cutTrailingSpace(text, piece, into: &ends) }
        var position = piece.lowerBound
        var pending = false
        while position < piece.upperBound {
            if let end = match(text, position, piece.upperBound) {
                if pending { ends.append(position) }
                pending = false
                ends.append(end)
                position = end
            } else {
                pending = true
                position = nextCharacter(text, position, piece.upperBound)
            }
        }
        if pending { ends.append(position) }
    }

    /// Where a match that begins at `start` ends, or nil.
    private func match(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        switch split {
        case .numbersOfThree: numbers(text, start, limit, atMost: 3)
        case .singleNumbers: numbers(text, start, limit, atMost: 1)
        case .ideographs: nonEmptyRun(.ideograph, start, limit)
        case .deepSeekWords: deepSeekWord(text, start, limit)
        case .gpt2Words: gpt2Word(text, start, limit)
        case .llamaWords(let digits): llamaWord(text, start, limit, digits: digits)
        case .kimiWords: kimiWord(text, start, limit)
        case .casedWords: casedWord(text, start, limit)
        case .run(let set, let afterSpace):
            members(of: set, afterSpace: afterSpace, text, start, limit)
        case .single(let set):
            run(of: set, text, start, nextCharacter(text, start, limit)) > start
                ? nextCharacter(text, start, limit) : nil
        case .trailingSpace: nil  // `cutTrailingSpace` does it
        }
    }

    // MARK: Runs

    func isKind(_ index: Int, _ kind: CharacterClass) -> Bool {
        classes[index] & kind.rawValue != 0
    }

    /// The end of the run of characters of any of `kinds`, `start` if there is none.
    func run(_ kinds: CharacterClass, _ start: Int, _ limit: Int) -> Int {
        var index = start
        while index < limit, classes[index] & kinds.rawValue != 0 { index += 1 }
        return index
    }

    func nonEmptyRun(_ kinds: CharacterClass, _ start: Int, _ limit: Int) -> Int? {
        let end = run(kinds, start, limit)
        return end > start ? end : nil
    }

    func nextCharacter(_ text: [UInt8], _ index: Int, _ limit: Int) -> Int {
        var next = index + 1
        while next < limit, text[next] & 0xC0 == 0x80 { next += 1 }
        return next
    }

    func previousCharacter(_ text: [UInt8], _ index: Int) -> Int {
        var previous = index - 1
        while text[previous] & 0xC0 == 0x80 { previous -= 1 }
        return previous
    }

    func numbers(_ text: [UInt8], _ start: Int, _ limit: Int, atMost count: Int) -> Int? {
        var index = start
        for _ in 0 ..< count {
            guard index < limit, isKind(index, .number) else { break }
            index = nextCharacter(text, index, limit)
        }
        return index > start ? index : nil
    }

    // MARK: Words

    /// DeepSeek-V3's pattern; its alternatives in order.
    private func deepSeekWord(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        let first = text[start]
        // [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+
        if isASCIIPunctuation(first) {
            var end = start + 1
            while end < limit, isASCIILetter(text[end]) { end += 1 }
            if end > start + 1 { return end }
        }
        // [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+: the optional character may itself be a mark, which
        // then also begins the run, so a run that begins here ends at the same place either way.
        if let end = nonEmptyRun([.letter, .mark], start, limit) { return end }
        if !isKind(start, [.newline, .punctuation, .symbol]) {
            let next = nextCharacter(text, start, limit)
            if let end = nonEmptyRun([.letter, .mark], next, limit) { return end }
        }
        // ` ?[\p{P}\p{S}]+[\r\n]*`
        let afterSpace = first == UInt8(ascii: " ") ? start + 1 : start
        if let end = nonEmptyRun([.punctuation, .symbol], afterSpace, limit) {
            return run(.newline, end, limit)
        }
        return whiteSpace(text, start, limit, newlinesFirst: true)
    }

    /// GPT-2 pattern: as `PreTokenizer.gpt2Pattern` spells it.
    private func gpt2Word(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        if text[start] == UInt8(ascii: "'") {
            for suffix in ["s", "t", "re", "ve", "m", "ll", "d"] as [StaticString] {
                let letters = suffix.description.utf8
                if start + 1 + letters.count <= limit, text[(start + 1)...].starts(with: letters) {
                    return start + 1 + letters.count
                }
            }
        }
        let word = text[start] == UInt8(ascii: " ") ? start + 1 : start
        if let end = nonEmptyRun(.letter, word, limit) { return end }
        if let end = nonEmptyRun(.number, word, limit) { return end }
        var end = word
        while end < limit, !isKind(end, [.space, .letter, .number]) { end += 1 }
        if end > word { return end }
        return whiteSpace(text, start, limit, newlinesFirst: false)
    }

    /// White space: `\s*[\r\n]+` (if `newlinesFirst`), else `\s+(?!\S)|\s+`.
    ///
    /// A run of white space is matched up to its last newline; else whole at the end of the text;
    /// else all but its last character, which goes to the word after it.
    func whiteSpace(
        _ text: [UInt8], _ start: Int, _ limit: Int, newlinesFirst: Bool
    ) -> Int? {
        guard let end = nonEmptyRun(.space, start, limit) else { return nil }
        if newlinesFirst {
            var newline = end
            while newline > start, !isKind(newline - 1, .newline) { newline -= 1 }
            if newline > start { return newline }
        }
        if end == limit { return end }
        let last = previousCharacter(text, end)
        return last > start ? last : end
    }

    private func isASCIILetter(_ byte: UInt8) -> Bool {
        (0x41 ... 0x5A).contains(byte) || (0x61 ... 0x7A).contains(byte)
    }

    private func isASCIIPunctuation(_ byte: UInt8) -> Bool {
        (0x21 ... 0x2F).contains(byte) || (0x3A ... 0x40).contains(byte)
            || (0x5B ... 0x60).contains(byte) || (0x7B ... 0x7E).contains(byte)
    }
}
