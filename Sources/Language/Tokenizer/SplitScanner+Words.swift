/// The patterns that grew from GPT-4's: those of Llama-3, GLM, Qwen and Kimi.
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
        // The second alternative may do without the letters of the third, not the other way round.
        for word in [wordInLowerCase, wordInUpperCase] {
            if !isKind(start, [.newline, .letter, .number]),
                let end = word(text, nextCharacter(text, start, limit), limit)
            {
                return contraction(text, end, limit) ?? end
            }
            if let end = word(text, start, limit) { return contraction(text, end, limit) ?? end }
        }
        return numberOrSigns(text, start, limit, digits: 3)
    }

    /// `[\p{Lu}...]*[\p{Ll}...]+`: the first run gives back characters until the second has one.
    ///
    /// What it gave back is upper case, which the next match takes whole: no byte is looked at more
    /// than three times.
    private func wordInLowerCase(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        let first = run(.beginsWord, start, limit)
        if let end = nonEmptyRun(.continuesWord, first, limit) { return end }
        var end = first
        while end > start, !isKind(end - 1, .continuesWord) { end = previousCharacter(text, end) }
        return end > start ? end : nil
    }

    /// `[\p{Lu}...]+[\p{Ll}...]*`
    private func wordInUpperCase(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
        nonEmptyRun(.beginsWord, start, limit).map { run(.continuesWord, $0, limit) }
    }

    /// `\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    private func numberOrSigns(
        _ text: [UInt8], _ start: Int, _ limit: Int, digits: Int
    ) -> Int? {
        if let end = numbers(text, start, limit, atMost: digits) { return end }
        let signs = text[start] == UInt8(ascii: " ") ? start + 1 : start
        var end = signs
        while end < limit, !isKind(end, [.space, .letter, .number]) { end += 1 }
        if end > signs { return run(.newline, end, limit) }
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
