/// A set of characters as a `tokenizer.json` spells it: the inside of `[...]` in a pattern.
///
/// Only single characters, ranges and escapes of single characters: whatever else a class may hold
/// in a regex (properties, negation, intersections) is refused, never approximated.
struct CharacterRanges: Sendable, Equatable {
    /// Disjoint and in order.
    private let ranges: [ClosedRange<UInt32>]
    /// Members below 128.
    private let ascii: [Bool]

    /// - Parameter text: What stands between the brackets; nil if it is not plain.
    init?(_ text: Substring) {
        var members: [ClosedRange<UInt32>] = []
        var rest = text.unicodeScalars[...]
        guard let first = rest.first, first != "^" else { return nil }
        while let low = Self.character(&rest) {
            guard rest.first == "-", rest.count > 1 else {
                members.append(low ... low)
                continue
            }
            rest.removeFirst()
            guard let high = Self.character(&rest), high >= low else { return nil }
            members.append(low ... high)
        }
        guard rest.isEmpty else { return nil }
        ranges = Self.merged(members)
        ascii = (0 ..< 128).map { point in members.contains { $0.contains(point) } }
    }

    /// Takes one character, escaped or bare.
    private static func character(_ rest: inout Substring.UnicodeScalarView) -> UInt32? {
        guard let scalar = rest.first, scalar != "[", scalar != "]", scalar != "&" else {
            return nil
        }
        guard scalar == "\\" else { return rest.removeFirst().value }
        guard let escaped = rest.dropFirst().first else { return nil }
        switch escaped {
        case "r":
            rest.removeFirst(2)
            return 13
        case "n":
            rest.removeFirst(2)
            return 10
        case "t":
            rest.removeFirst(2)
            return 9
        // An escaped letter or digit may mean a class; an escaped sign is itself.
        case _
        where escaped.isASCII && !escaped.properties.isAlphabetic
            && !escaped.properties.isASCIIHexDigit:
            rest.removeFirst(2)
            return escaped.value
        default: return nil
        }
    }

    private static func merged(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var result: [ClosedRange<UInt32>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.last, range.lowerBound <= last.upperBound {
                let end = max(last.upperBound, range.upperBound)
                result[result.count - 1] = last.lowerBound ... end
            } else {
                result.append(range)
            }
        }
        return result
    }

    /// Whether a code point is a member.
    func contains(_ point: UInt32) -> Bool {
        if point < 128 { return ascii[Int(point)] }
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < point { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].lowerBound <= point
    }
}

extension SplitScanner {
    /// The end of the run of members from `start` on, `start` if there is none.
    func run(of set: CharacterRanges, _ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
        var index = start
        while index < limit, set.contains(point(text, index)) {
            index = nextCharacter(text, index, limit)
        }
        return index
    }

    /// `[...]+`, or with `afterSpace` `\s?[...]+`. A white space that is itself a member begins the
    /// same run whichever part of the pattern takes it.
    func members(
        of set: CharacterRanges, afterSpace: Bool, _ text: [UInt8], _ start: Int, _ limit: Int
    ) -> Int? {
        let end = run(of: set, text, start, limit)
        if end > start { return end }
        guard afterSpace, isKind(start, .space) else { return nil }
        let next = nextCharacter(text, start, limit)
        let later = run(of: set, text, next, limit)
        return later > next ? later : nil
    }

    /// Cuts by `\s+$`: white space up to the end, or up to the last newline of its run, since `$`
    /// also stands before a newline. Each run is read once.
    func cutTrailingSpace(_ text: [UInt8], _ piece: Range<Int>, into ends: inout [Int]) {
        var position = piece.lowerBound
        var pending = false
        while position < piece.upperBound {
            let end = run(.space, position, piece.upperBound)
            var match = end
            if end < piece.upperBound {
                while match > position, text[match] != 10 { match -= 1 }
            }
            if match > position {
                if pending { ends.append(position) }
                ends.append(match)
                pending = match < end
            } else {
                pending = true
            }
            position = end > position ? end : nextCharacter(text, position, piece.upperBound)
        }
        if pending { ends.append(position) }
    }

    /// The code point that begins at a byte.
    private func point(_ text: [UInt8], _ index: Int) -> UInt32 {
        let lead = UInt32(text[index])
        guard lead >= 0x80 else { return lead }
        let length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2
        var point = lead & (0x7F >> UInt32(length))
        for next in index + 1 ..< index + length {
            point = point << 6 | UInt32(text[next] & 0x3F)
        }
        return point
    }
}
