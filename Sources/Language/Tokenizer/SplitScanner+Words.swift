/// The patterns that grew from GPT-4's: those of Llama-3, GLM, Qwen, Kimi and GPT-4o.
extension SplitScanner {
    /// Llama-3's pattern, as `PreTokenizer.llamaPattern` spells it; its alternatives in order.
    func llamaWord(_ text: [UInt8], _ start: Int, _ limit: Int, digits: Int) -> Int? {
        if let end = contraction(text, start, limit) { return end }
        // [^\r\n\p{L}\p{N}]?\p{L}+
        if let end = nonEmptyRun(.letter, start, limit) { return end }
        if !isKind(start, [.newline, .number]) {
            let next = nextCharacter(text, start, limit)
            if let end = nonEmptyRun(.letter, next, limit) { return end }
        }
        return numberOrSigns(text, start, limit, digits: digits)
    }

    /// Kimi's pattern, as `PreTokenizer.kimiPattern` spells it; its alternatives in order.
    func kimiWord(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        if let end = nonEmptyRun(.han, start, limit) { return end }
        return wordByCase(text, start, limit, CharacterClass.kimiWords)
            ?? numberOrSigns(text, start, limit, digits: 3)
    }

    /// GPT-4o's pattern, as `PreTokenizer.casedPattern` spells it; its alternatives in order.
    func casedWord(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        wordByCase(text, start, limit, CharacterClass.anyWords)
            ?? numberOrSigns(text, start, limit, digits: 3, takesSlashes: true)
    }

    /// A word in lower case that may begin in upper case, or else one in upper case that may go on
    /// in lower case; each may follow one other character and have a contraction behind it.
    private func wordByCase(
        _ text: [UInt8], _ start: Int, _ limit: Int, _ kinds: WordKinds
    ) -> Int? {
        // The second alternative may do without the letters of the third, not the other way round.
        for word in [wordInLowerCase, wordInUpperCase] {
            if !isKind(start, [.newline, .letter, .number]),
                let end = word(text, nextCharacter(text, start, limit), limit, kinds)
            {
                return contraction(text, end, limit) ?? end
            }
            if let end = word(text, start, limit, kinds) {
                return contraction(text, end, limit) ?? end
            }
        }
        return nil
    }

    private typealias WordKinds = (begins: CharacterClass, continues: CharacterClass)

    /// `[\p{Lu}...]*[\p{Ll}...]+`: the first run gives back characters until the second has one.
    ///
    /// What it gave back is upper case, which the next match takes whole: no byte is read more
    /// than three times.
    private func wordInLowerCase(
        _ text: [UInt8], _ start: Int, _ limit: Int, _ kinds: WordKinds
    ) -> Int? {
        let first = run(kinds.begins, start, limit)
        if let end = nonEmptyRun(kinds.continues, first, limit) { return end }
        var end = first
        while end > start, !isKind(end - 1, kinds.continues) { end = previousCharacter(text, end) }
        return end > start ? end : nil
    }

    /// `[\p{Lu}...]+[\p{Ll}...]*`
    private func wordInUpperCase(
        _ text: [UInt8], _ start: Int, _ limit: Int, _ kinds: WordKinds
    ) -> Int? {
        nonEmptyRun(kinds.begins, start, limit).map { run(kinds.continues, $0, limit) }
    }

    /// `\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`; with slashes
    /// `[\r\n/]*`.
    private func numberOrSigns(
        _ text: [UInt8], _ start: Int, _ limit: Int, digits: Int, takesSlashes: Bool = false
    ) -> Int? {
        if let end = numbers(text, start, limit, atMost: digits) { return end }
        let signs = text[start] == UInt8(ascii: " ") ? start + 1 : start
        var end = signs
        while end < limit, !isKind(end, [.space, .letter, .number]) { end += 1 }
        if end > signs {
            let slash = UInt8(ascii: "/")
            while end < limit, isKind(end, .newline) || takesSlashes && text[end] == slash {
                end += 1
            }
            return end
        }
        return whiteSpace(text, start, limit, newlinesFirst: true)
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`, where the long s is an s too.
    private func contraction(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        guard start + 1 < limit, text[start] == UInt8(ascii: "'") else { return nil }
        func letter(_ index: Int) -> UInt8 { index < limit ? text[index] | 0x20 : 0 }
        switch letter(start + 1) {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return start + 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"):
            return letter(start + 2) == UInt8(ascii: "e") ? start + 3 : nil
        case UInt8(ascii: "l"):
            return letter(start + 2) == UInt8(ascii: "l") ? start + 3 : nil
        case _ where text[(start + 1) ..< limit].starts(with: "ſ".utf8): return start + 3
        default: return nil
        }
    }
}
