/// A set of characters, as ranges of code points in ascending order that do not touch.
struct CharacterClass: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>]

    /// Every character.
    static let all = CharacterClass([0 ... 0xD7FF, 0xE000 ... 0x10FFFF])
    /// What `.` and negated classes may be: no control characters and no ends of lines, whatever
    /// the dialect.
    static let printable = CharacterClass([
        0x20 ... 0x7E, 0x80 ... 0x2027, 0x202A ... 0xD7FF, 0xE000 ... 0x10FFFF,
    ])
    static let ascii = CharacterClass([0x20 ... 0x7E])
    static let digits = CharacterClass([0x30 ... 0x39])
    static let words = CharacterClass([0x30 ... 0x39, 0x41 ... 0x5A, 0x5F ... 0x5F, 0x61 ... 0x7A])
    static let spaces = CharacterClass([0x09 ... 0x0A, 0x0D ... 0x0D, 0x20 ... 0x20])
    /// All that some dialect counts as white space.
    static let allSpaces = CharacterClass([
        0x09 ... 0x0D, 0x1C ... 0x20, 0x85 ... 0x85, 0xA0 ... 0xA0, 0x1680 ... 0x1680,
        0x180E ... 0x180E, 0x2000 ... 0x200A, 0x2028 ... 0x2029, 0x202F ... 0x202F,
        0x205F ... 0x205F, 0x3000 ... 0x3000, 0xFEFF ... 0xFEFF,
    ])

    init(_ ranges: [ClosedRange<UInt32>] = []) {
        self.ranges = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = self.ranges.last, range.lowerBound <= last.upperBound + 1 {
                self.ranges[self.ranges.count - 1] =
                    last.lowerBound ... max(last.upperBound, range.upperBound)
            } else {
                self.ranges.append(range)
            }
        }
    }

    init(_ scalar: Unicode.Scalar) { ranges = [scalar.value ... scalar.value] }

    var isEmpty: Bool { ranges.isEmpty }

    func contains(_ value: UInt32) -> Bool {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].contains(value) { return true }
            if ranges[middle].lowerBound > value { high = middle } else { low = middle + 1 }
        }
        return false
    }

    func union(_ other: CharacterClass) -> CharacterClass { CharacterClass(ranges + other.ranges) }

    func subtracting(_ other: CharacterClass) -> CharacterClass {
        var left = ranges
        for cut in other.ranges {
            left = left.flatMap { range -> [ClosedRange<UInt32>] in
                guard range.overlaps(cut) else { return [range] }
                var parts: [ClosedRange<UInt32>] = []
                if range.lowerBound < cut.lowerBound {
                    parts.append(range.lowerBound ... cut.lowerBound - 1)
                }
                if range.upperBound > cut.upperBound {
                    parts.append(cut.upperBound + 1 ... range.upperBound)
                }
                return parts
            }
        }
        return CharacterClass(left)
    }

    func intersection(_ other: CharacterClass) -> CharacterClass {
        subtracting(Self.all.subtracting(other))
    }
}

extension GrammarBuilder {
    /// One character of a class: as it stands in a JSON string, or as it is.
    mutating func character(of set: CharacterClass, quoted: Bool) throws -> [[Symbol]] {
        try budget.spend(set.ranges.count * 8)
        var plain = ByteSet()
        var alternatives: [[Symbol]] = []
        for range in set.ranges {
            for value in range.lowerBound ..< max(range.lowerBound, min(0x80, range.upperBound + 1))
            {
                let isPlain = value >= 0x20 && value != 0x22 && value != 0x5C
                if !quoted || isPlain {
                    plain.insert(UInt8(value))
                } else {
                    alternatives.append(Self.escape(UInt8(value)))
                }
            }
            if range.upperBound >= 0x80 {
                alternatives += try sequences(max(0x80, range.lowerBound) ... range.upperBound)
            }
        }
        return (plain == ByteSet() ? [] : [[.bytes(plain)]]) + alternatives
    }

    private static func escape(_ byte: UInt8) -> [Symbol] {
        let digits = Array("0123456789abcdef".utf8)
        switch byte {
        case 0x22, 0x5C: return literal([0x5C, byte])
        case 0x0A: return literal("\\n")
        case 0x0D: return literal("\\r")
        case 0x09: return literal("\\t")
        default:
            return literal("\\u00") + literal([digits[Int(byte >> 4)], digits[Int(byte & 15)]])
        }
    }

    /// The UTF-8 sequences of a range: parts whose bytes after some place are free.
    private mutating func sequences(_ range: ClosedRange<UInt32>) throws -> [[Symbol]] {
        var open = [range]
        var alternatives: [[Symbol]] = []
        while let range = open.popLast() {
            try budget.spend(16)
            let (low, high) = (range.lowerBound, range.upperBound)
            // No sequence of one length, nor one above the surrogates, shares a part with another.
            if let cut = [0x800, 0xE000, 0x10000].first(where: { low < $0 && high >= $0 }) {
                let end: UInt32 = cut == 0xE000 ? 0xD7FF : cut - 1
                if low <= end { open.append(low ... min(end, high)) }
                open.append(cut ... high)
                continue
            }
            if low >= 0xD800, high <= 0xDFFF { continue }
            let cut = [6, 12, 18].lazy.map { UInt32(1) << UInt32($0) }.first { unit in
                guard low / unit != high / unit else { return false }
                return low % unit != 0 || high % unit != unit - 1
            }
            if let unit = cut {
                if low % unit != 0 {
                    let end = low / unit * unit + unit - 1
                    open += [low ... end, end + 1 ... high]
                } else {
                    let start = high / unit * unit
                    open += [low ... start - 1, start ... high]
                }
                continue
            }
            let (first, last) = (Self.utf8(low), Self.utf8(high))
            alternatives.append(zip(first, last).map { .bytes(ByteSet($0 ... $1)) })
        }
        return alternatives
    }

    private static func utf8(_ value: UInt32) -> [UInt8] {
        Unicode.Scalar(value).map { Array(String(Character($0)).utf8) } ?? []
    }
}
