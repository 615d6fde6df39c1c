import Encoding

/// Turns a schema's `pattern` into the content of a JSON string that matches it.
///
/// Read are characters, escapes, `.`, classes, groups, `|`, `?`, `*`, `+`, `{m,n}`, and `^` and `$`
/// at the ends. What else a regular expression may hold is refused by name. A pattern that is not
/// anchored is matched whole: such strings satisfy it too.
struct PatternCompiler {
    /// Why a pattern cannot be used.
    struct Fault: Error {
        let reason: String
    }

    /// Bytes of a pattern; an e-mail address takes a hundred.
    static let byteLimit = 1024
    /// Nesting of groups.
    static let depthLimit = 16

    private typealias Symbol = Grammar.Symbol

    /// Characters of all ranges together.
    static let rangeLimit = 8192

    private let scalars: [Unicode.Scalar]
    private var place = 0
    private var rangeCount = 0

    private init(_ text: String) { scalars = Array(text.unicodeScalars) }

    /// The rule of a string literal, quotes included.
    static func rule(
        _ text: String, _ builder: inout GrammarBuilder
    ) throws -> Grammar.Rule {
        guard text.utf8.count <= byteLimit else {
            throw Fault(reason: "a pattern of \(text.utf8.count) bytes: the limit is \(byteLimit)")
        }
        var compiler = PatternCompiler(text)
        if compiler.peek == "^" { compiler.place += 1 }
        let content = try compiler.alternatives(&builder, depth: 0)
        if compiler.peek == "$" { compiler.place += 1 }
        guard let rest = compiler.peek else {
            let quote = GrammarBuilder.literal("\"")
            return try builder.rule([quote + [.rule(try builder.rule(content))] + quote])
        }
        throw Fault(reason: "\(rest) at \(compiler.place) of the pattern is not supported there")
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

    private mutating func alternatives(
        _ builder: inout GrammarBuilder, depth: Int
    ) throws -> [[Symbol]] {
        guard depth <= Self.depthLimit else {
            throw Fault(reason: "groups nested deeper than \(Self.depthLimit)")
        }
        var all: [[Symbol]] = []
        repeat {
            var sequence: [Symbol] = []
            while let scalar = peek, scalar != "|", scalar != ")" {
                if scalar == "$", place == scalars.count - 1 { break }
                sequence += try repeated(try atom(&builder, depth: depth), &builder)
            }
            all.append(sequence)
        } while take("|")
        return all
    }

    private mutating func repeated(
        _ atom: [Symbol], _ builder: inout GrammarBuilder
    ) throws -> [Symbol] {
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
        // Lazy or greedy is the same question to a grammar.
        _ = take("?")
        if peek == "+" || peek == "*" { throw Fault(reason: "a repetition of a repetition") }
        return try builder.repeated([.rule(try builder.rule([atom]))], least, most)
    }

    private mutating func number() throws -> Int {
        var digits = ""
        while let scalar = peek, ("0" ... "9").contains(scalar), digits.count < 6 {
            digits.unicodeScalars.append(scalar)
            place += 1
        }
        guard let value = Int(digits) else {
            throw Fault(reason: "a count in braces that is no number")
        }
        return value
    }

    private mutating func atom(
        _ builder: inout GrammarBuilder, depth: Int
    ) throws -> [Symbol] {
        let scalar = try next()
        switch scalar {
        case "(":
            if take("?"), !take(":") { throw Fault(reason: "(? groups other than (?: )") }
            let inner = try alternatives(&builder, depth: depth + 1)
            guard take(")") else { throw Fault(reason: "a group that is not closed") }
            return [.rule(try builder.rule(inner))]
        case "[":
            let negates = take("^")
            let set = try characterClass()
            return [.rule(try Self.any(of: set, negates: negates, &builder))]
        case ".": return [.rule(try Self.any(of: [], negates: true, &builder))]
        case "\\":
            if let set = try escapedClass() {
                return [.rule(try Self.any(of: set.characters, negates: set.negates, &builder))]
            }
            return Self.quoted(try escapedCharacter())
        case "^", "$", "*", "+", "?", "{", "}", "]":
            throw Fault(reason: "\(scalar) at \(place - 1) of the pattern is not supported there")
        default: return Self.quoted(scalar)
        }
    }

    /// A character as it stands in a JSON string.
    private static func quoted(_ scalar: Unicode.Scalar) -> [Symbol] {
        let literal = JSONValue.quoted(String(Character(scalar)))
        return GrammarBuilder.literal(String(literal.dropFirst().dropLast()))
    }

    private static let digits = Set("0123456789".unicodeScalars)
    private static let words = Set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_".unicodeScalars)
    private static let spaces = Set(" \t\n\r".unicodeScalars)

    /// A class that the character after a backslash names, if it names one.
    private mutating func escapedClass() throws -> (
        characters: Set<Unicode.Scalar>, negates: Bool
    )? {
        switch peek {
        case "d", "D": return (Self.digits, try next() == "D")
        case "w", "W": return (Self.words, try next() == "W")
        case "s", "S": return (Self.spaces, try next() == "S")
        default: return nil
        }
    }

    private mutating func escapedCharacter() throws -> Unicode.Scalar {
        let scalar = try next()
        switch scalar {
        case "n": return "\n"
        case "t": return "\t"
        case "r": return "\r"
        case let other where other.isASCII && !Self.words.contains(other): return other
        default: throw Fault(reason: "\\\(scalar) is not supported")
        }
    }

    /// The characters of a class up to its bracket.
    private mutating func characterClass() throws -> Set<Unicode.Scalar> {
        var set: Set<Unicode.Scalar> = []
        // Dialects differ about a bracket that comes first.
        if peek == "]" { throw Fault(reason: "a class that begins with ]") }
        while peek != "]" {
            var low = try next()
            if low == "\\" {
                if let named = try escapedClass() {
                    guard !named.negates else {
                        throw Fault(reason: "a negated class inside brackets")
                    }
                    set.formUnion(named.characters)
                    continue
                }
                low = try escapedCharacter()
            }
            guard peek == "-", place + 1 < scalars.count, scalars[place + 1] != "]" else {
                set.insert(low)
                continue
            }
            place += 1
            var high = try next()
            if high == "\\" { high = try escapedCharacter() }
            guard low.value <= high.value, high.value - low.value < 4096 else {
                throw Fault(reason: "the range \(low)-\(high) of a class")
            }
            rangeCount += Int(high.value - low.value) + 1
            guard rangeCount <= Self.rangeLimit else {
                throw Fault(
                    reason: "ranges of \(rangeCount) characters: the limit is \(Self.rangeLimit)")
            }
            set.formUnion((low.value ... high.value).compactMap { Unicode.Scalar($0) })
        }
        place += 1
        return set
    }

    /// One character of a set, or one outside it; control characters are never outside.
    private static func any(
        of set: Set<Unicode.Scalar>, negates: Bool, _ builder: inout GrammarBuilder
    ) throws -> Grammar.Rule {
        let printable = (0x20 ... 0x7E as ClosedRange<UInt32>).compactMap { Unicode.Scalar($0) }
        let wanted = negates ? printable.filter { !set.contains($0) } : set.sorted()
        var plain = ByteSet()
        var alternatives: [[Symbol]] = []
        for scalar in wanted {
            let symbols = quoted(scalar)
            if symbols.count == 1, scalar.isASCII {
                plain.insert(UInt8(scalar.value))
            } else {
                alternatives.append(symbols)
            }
        }
        if plain != ByteSet() { alternatives.append([.bytes(plain)]) }
        guard !alternatives.isEmpty else { throw Fault(reason: "a class without a character") }
        return try builder.rule(alternatives)
    }
}
