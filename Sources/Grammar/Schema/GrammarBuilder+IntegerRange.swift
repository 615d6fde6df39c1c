extension GrammarBuilder {
    /// Whole numbers of a range, written without leading zeros.
    mutating func integer(in range: ClosedRange<Int>) throws -> Rule {
        var alternatives: [[Symbol]] = []
        if range.lowerBound < 0 {
            let largest = -range.lowerBound
            let smallest = max(1, -range.upperBound)
            alternatives += digits(smallest ... largest).map { Self.literal("-") + $0 }
        }
        if range.upperBound >= 0 {
            alternatives += digits(max(0, range.lowerBound) ... range.upperBound)
        }
        return try rule(alternatives)
    }

    /// Numbers of a range as patterns of digits: a fixed head, one digit from a range, free tails.
    private func digits(_ range: ClosedRange<Int>) -> [[Symbol]] {
        Self.digitRanges(range).map { $0.map { .bytes(ByteSet($0)) } }
    }

    /// The same; each digit as a range of characters.
    static func digitRanges(_ range: ClosedRange<Int>) -> [[ClosedRange<UInt8>]] {
        var patterns: [[ClosedRange<UInt8>]] = []
        var low = range.lowerBound
        while low <= range.upperBound {
            // The widest block of numbers that starts at `low` and differs only in its tail.
            var tail = 0
            var width = 1
            while low > 0, low % (width * 10) == 0, low + width * 10 - 1 <= range.upperBound,
                String(low).count > tail + 1
            {
                width *= 10
                tail += 1
            }
            let text = String(low)
            let head = text.prefix(text.count - tail - 1)
            let digit = text.utf8[text.utf8.index(text.startIndex, offsetBy: head.utf8.count)]
            // As many neighbouring blocks as share the head.
            let nine = UInt8(ascii: "9")
            let blocks = min(Int(nine - digit), (range.upperBound - low + 1) / width - 1)
            patterns.append(
                head.utf8.map { $0 ... $0 } + [digit ... digit + UInt8(blocks)]
                    + Array(repeating: UInt8(ascii: "0") ... nine, count: tail))
            low += width * (blocks + 1)
        }
        return patterns
    }
}
