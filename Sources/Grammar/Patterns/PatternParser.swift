/// Reads a regular expression of the parts that JavaScript, Python and JSON Schema share.
///
/// Read are characters, escapes, `.`, classes, groups, `|`, `?`, `*`, `+`, `{m,n}`, `^`, `$`,
/// `(?=...)` and `(?!...)`. What else a regular expression may hold is refused by name. Where
/// dialects differ about a class, it means what they share.
struct PatternParser {
    /// Why a pattern cannot be used.
    struct Fault: Error {
        let reason: String
    }

    /// Bytes of a pattern; that of an IPv6 address takes a thousand.
    static let byteLimit = 4096
    /// Nesting of groups.
    static let depthLimit = 32
    /// The largest count in braces.
    static let countLimit = 1_000_000

    private let scalars: [Unicode.Scalar]
    private var place = 0
    private let budget: CompilationBudget

    private init(_ text: String, _ budget: CompilationBudget) {
        scalars = Array(text.unicodeScalars)
        self.budget = budget
    }

    static func parse(_ text: String, _ budget: CompilationBudget) throws -> Pattern {
        guard text.utf8.count <= byteLimit else {
            throw Fault(reason: "a pattern of \(text.utf8.count) bytes: the limit is \(byteLimit)")
        }
        try budget.spend(text.utf8.count * 8, bytes: text.utf8.count * 64)
        var parser = PatternParser(text, budget)
        let pattern = try parser.alternatives(depth: 0)
        guard let rest = parser.peek else { return pattern }
        throw Fault(reason: "\(rest) at \(parser.place) of the pattern is not supported there")
    }

    private var peek: Unicode.Scalar? { place < scalars.count ? scalars[place] : nil }

    private mutating func take(_ wanted: Unicode.Scalar) -> Bool {
        guard peek == wanted else { return false }
        place += 1
        return true
    }

    private mutating func next() throws -> Unicode.Scalar {
        guard let scalar = peek else { throw Fault(reason: "the pattern ends too early") }
        place += 1
        return scalar
    }

    private mutating func alternatives(depth: Int) throws -> Pattern {
        guard depth <= Self.depthLimit else {
            throw Fault(reason: "groups nested deeper than \(Self.depthLimit)")
        }
        var all: [Pattern] = []
        repeat {
            var sequence: [Pattern] = []
            while let scalar = peek, scalar != "|", scalar != ")" {
                sequence.append(try repeated(try atom(depth: depth)))
            }
            all.append(sequence.count == 1 ? sequence[0] : .sequence(sequence))
        } while take("|")
        return all.count == 1 ? all[0] : .either(all)
    }

    private mutating func repeated(_ atom: Pattern) throws -> Pattern {
        var (least, most): (Int, Int?) = (1, 1)
        if take("?") {
            (least, most) = (0, 1)
        } else if take("*") {
            (least, most) = (0, nil)
        } else if take("+") {
            (least, most) = (1, nil)
        } else if take("{") {
            least = try number()
            most = least
            if take(",") { most = peek == "}" ? nil : try number() }
            guard take("}"), (most ?? least) >= least else {
                throw Fault(reason: "a count in braces that is neither {m}, {m,} nor {m,n}")
            }
        } else {
            return atom
        }
        switch atom {
        case .start, .end, .ahead: throw Fault(reason: "a repetition of an assertion")
        default: break
        }
        // Lazy or greedy is the same question to a grammar.
        _ = take("?")
        if peek == "+" || peek == "*" { throw Fault(reason: "a repetition of a repetition") }
        return .repeated(atom, least, most)
    }

    private mutating func number() throws -> Int {
        var digits = ""
        while let scalar = peek, ("0" ... "9").contains(scalar), digits.count < 9 {
            digits.unicodeScalars.append(scalar)
            place += 1
        }
        guard let value = Int(digits) else {
            throw Fault(reason: "a count in braces that is no number")
        }
        guard value <= Self.countLimit else {
            throw Fault(reason: "a count of \(value) in braces: the limit is \(Self.countLimit)")
        }
        return value
    }

    private mutating func atom(depth: Int) throws -> Pattern {
        let scalar = try next()
        switch scalar {
        case "(": return try group(depth: depth)
        case "[": return .characters(try characterClass())
        case ".": return .characters(.printable)
        case "^": return .start
        case "$": return .end
        case "\\":
            if let set = try escapedClass() { return .characters(set) }
            return .characters(CharacterClass(try escapedCharacter()))
        case "*", "+", "?":
            throw Fault(reason: "\(scalar) at \(place - 1) of the pattern repeats nothing")
        case "{": throw Fault(reason: "{ at \(place - 1) of the pattern is not supported there")
        default: return .characters(CharacterClass(scalar))
        }
    }

    private mutating func group(depth: Int) throws -> Pattern {
        var isWanted: Bool?
        if take("?") {
            switch peek {
            case ":": place += 1
            case "=", "!": isWanted = try next() == "="
            default:
                // A name changes nothing about what matches.
                _ = take("P")
                guard take("<"), peek != "=", peek != "!" else {
                    throw Fault(reason: "(? groups other than (?: ), (?= ), (?! ) and (?<name> )")
                }
                while try next() != ">" {}
            }
        }
        let inner = try alternatives(depth: depth + 1)
        guard take(")") else { throw Fault(reason: "a group that is not closed") }
        if let isWanted { return .ahead(inner, isWanted: isWanted) }
        return inner
    }
}

extension PatternParser {
    /// A class that the character after a backslash names, if it names one.
    ///
    /// Outside ASCII dialects differ about digits and words.
    private mutating func escapedClass() throws -> CharacterClass? {
        let set: CharacterClass
        switch peek {
        case "d": set = .digits
        case "D": set = .ascii.subtracting(.digits)
        case "w": set = .words
        case "W": set = .ascii.subtracting(.words)
        case "s": set = .spaces
        case "S": set = .printable.subtracting(.allSpaces)
        default: return nil
        }
        place += 1
        return set
    }

    private mutating func escapedCharacter() throws -> Unicode.Scalar {
        let scalar = try next()
        switch scalar {
        case "n": return "\n"
        case "t": return "\t"
        case "r": return "\r"
        case "f": return "\u{C}"
        case "v": return "\u{B}"
        case "x": return try hexadecimal(2)
        case "u": return try hexadecimal(4)
        case let other where other.isASCII && !CharacterClass.words.contains(other.value):
            return other
        case "_": return scalar
        default: throw Fault(reason: "\\\(scalar) is not supported")
        }
    }

    private mutating func hexadecimal(_ count: Int) throws -> Unicode.Scalar {
        var digits = ""
        for _ in 0 ..< count { digits.unicodeScalars.append(try next()) }
        guard digits.allSatisfy(\.isHexDigit), let value = UInt32(digits, radix: 16),
            let scalar = Unicode.Scalar(value)
        else { throw Fault(reason: "an escape of \(digits), which is no character") }
        return scalar
    }

    /// The characters of a class up to its bracket.
    private mutating func characterClass() throws -> CharacterClass {
        let negates = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        var isPlain = true
        // Dialects differ about a bracket that comes first.
        if peek == "]" { throw Fault(reason: "a class that begins with ]") }
        while peek != "]" {
            var low = try next()
            if low == "\\" {
                let name = peek
                if let named = try escapedClass() {
                    if name == "s" {
                        ranges += (negates ? CharacterClass.allSpaces : named).ranges
                    } else {
                        // Of a negated class inside a negated one, only ASCII is agreed upon.
                        if name != "S" || negates { isPlain = false }
                        ranges += named.ranges
                    }
                    continue
                }
                low = try escapedCharacter()
            }
            guard peek == "-", place + 1 < scalars.count, scalars[place + 1] != "]" else {
                ranges.append(low.value ... low.value)
                continue
            }
            place += 1
            if scalars[place] == "\\", place + 1 < scalars.count,
                "dDwWsS".unicodeScalars.contains(scalars[place + 1])
            {
                // `a-\d` is the three of them.
                ranges += [low.value ... low.value, 0x2D ... 0x2D]
                continue
            }
            var high = try next()
            if high == "\\" { high = try escapedCharacter() }
            guard low.value <= high.value else {
                throw Fault(reason: "the range \(low)-\(high) of a class")
            }
            ranges.append(low.value ... high.value)
        }
        place += 1
        try budget.spend(ranges.count * 8)
        let universe = isPlain ? CharacterClass.printable : .ascii
        let set = CharacterClass(ranges)
        let wanted = negates ? universe.subtracting(set) : set.intersection(.all)
        guard !wanted.isEmpty else { throw Fault(reason: "a class without a character") }
        return wanted
    }
}
