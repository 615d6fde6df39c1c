extension NamePattern {
    /// Reads an expression; nil for one that is not taken.
    struct Parser {
        private let letters: [UInt8]
        private var place = 0
        private var depth = 0

        init(_ letters: [UInt8]) { self.letters = letters }

        var isAtEnd: Bool { place == letters.count }
        private var next: Unicode.Scalar? {
            place < letters.count ? Unicode.Scalar(letters[place]) : nil
        }

        private mutating func take() -> Unicode.Scalar? {
            defer { place += 1 }
            return next
        }

        mutating func choice() -> Expression? {
            depth += 1
            defer { depth -= 1 }
            guard depth < 16 else { return nil }
            var ways: [Expression] = []
            repeat {
                if !ways.isEmpty { place += 1 }
                guard let way = sequence() else { return nil }
                ways.append(way)
            } while next == "|"
            return ways.count == 1 ? ways[0] : .choice(ways)
        }

        private mutating func sequence() -> Expression? {
            var parts: [Expression] = []
            while let letter = next, letter != "|", letter != ")" {
                guard let atom = atom() else { return nil }
                switch next {
                case "*": parts.append(.repeated(atom, atLeastOnce: false))
                case "+": parts.append(.repeated(atom, atLeastOnce: true))
                case "?": parts.append(.optional(atom))
                default:
                    parts.append(atom)
                    continue
                }
                place += 1
                // A mark after the mark asks for the shortest match, or is no expression.
                guard next != "?", next != "*", next != "+" else { return nil }
            }
            return .sequence(parts)
        }

        private mutating func atom() -> Expression? {
            // A letter of several bytes would be repeated by its last one.
            guard let letter = take(), letter.isASCII else { return nil }
            switch letter {
            case ".": return .letters(Letters(isExcluded: true))
            case "^": return .start
            case "$": return .end
            case "\\": return escaped()
            case "[": return letterClass()
            case "(":
                if next == "?" {
                    // Without a number: (?: ... ).
                    place += 1
                    guard take() == ":" else { return nil }
                }
                guard let inner = choice(), take() == ")" else { return nil }
                return inner
            case "*", "+", "?", "{", "}", "]": return nil
            default: return .letters(Letters([UInt8(ascii: letter)]))
            }
        }

        private mutating func escaped() -> Expression? {
            guard let letter = take(), letter.isASCII else { return nil }
            let digits = "0123456789"
            if letter == "d" { return .letters(Letters(digits.utf8)) }
            if letter == "w" {
                let small = "abcdefghijklmnopqrstuvwxyz"
                return .letters(Letters((small + small.uppercased() + digits + "_").utf8))
            }
            let isWord = letter.properties.isAlphabetic || ("0" ... "9").contains(letter)
            return isWord ? nil : .letters(Letters([UInt8(ascii: letter)]))
        }

        private mutating func letterClass() -> Expression? {
            var set = Letters(isExcluded: next == "^")
            if set.isExcluded { place += 1 }
            // In Python a class begins with this one as a letter.
            guard next != "]" else { return nil }
            while let letter = take(), letter != "]" {
                guard letter != "\\", letter.isASCII else { return nil }
                guard next == "-", place + 1 < letters.count, letters[place + 1] != 0x5D else {
                    set.insert(UInt8(ascii: letter))
                    continue
                }
                let (low, high) = (UInt8(ascii: letter), letters[place + 1])
                // A range that ends with `\` ends with what that escapes.
                guard low <= high, high < 128, high != 0x5C else { return nil }
                for inside in low ... high { set.insert(inside) }
                place += 2
            }
            guard place <= letters.count, letters[place - 1] == 0x5D else { return nil }
            return .letters(set)
        }
    }
}
