import Encoding

/// A name of modules as `targets` and `ignore` of compressed-tensors have them: a whole name, or
/// after `re:` a regular expression that a name begins with.
///
/// Expressions have letters, `.`, classes, `( | )` and `* + ?`. They are matched by sets of places,
/// so the time is at most the product of both lengths and the depth of repetitions, whatever the
/// expression. Instead of: Swift's `Regex`, which tries one way after the other, and a hostile file
/// could make that take forever.
struct NamePattern: Sendable, Equatable {
    /// The longest that is read; published ones have 40 letters.
    static let lengthLimit = 400

    let text: String
    private let expression: Expression?

    private indirect enum Expression: Sendable, Equatable {
        case letters(Set<Character>, isExcluded: Bool)
        case start, end
        case sequence([Expression])
        case choice([Expression])
        case repeated(Expression, atLeastOnce: Bool)
        case optional(Expression)
    }

    /// - Throws: `ModelConfiguration.Refusal` without a key for an expression that is not read.
    init(_ text: String) throws {
        self.text = text
        guard text.hasPrefix("re:") else {
            expression = nil
            return
        }
        var parser = Parser(Array(text.dropFirst(3)))
        guard text.count <= Self.lengthLimit, let parsed = parser.choice(), parser.isAtEnd else {
            throw ModelConfiguration.Refusal(
                key: "",
                fact: "\(text.printable(limit: 80)) is not taken; taken are names, and after re: "
                    + "expressions of letters, classes, groups and * + ?, up to "
                    + "\(Self.lengthLimit) letters")
        }
        expression = parsed
    }

    /// Whether a module has such a name.
    func matches(_ name: String) -> Bool {
        guard let expression else { return name == text }
        let letters = Array(name)
        return !Self.ends(of: expression, in: letters, from: [0]).isEmpty
    }

    /// Where matches end that begin at one of some places.
    private static func ends(
        of expression: Expression, in letters: [Character], from starts: Set<Int>
    ) -> Set<Int> {
        switch expression {
        case .start: return starts.intersection([0])
        case .end: return starts.intersection([letters.count])
        case .letters(let set, let isExcluded):
            return Set(
                starts.filter {
                    $0 < letters.count && set.contains(letters[$0]) != isExcluded
                }.map { $0 + 1 })
        case .sequence(let parts):
            return parts.reduce(starts) {
                $0.isEmpty ? $0 : ends(of: $1, in: letters, from: $0)
            }
        case .choice(let ways):
            return ways.reduce(into: []) { $0.formUnion(ends(of: $1, in: letters, from: starts)) }
        case .optional(let part): return starts.union(ends(of: part, in: letters, from: starts))
        case .repeated(let part, let atLeastOnce):
            var reached = atLeastOnce ? ends(of: part, in: letters, from: starts) : starts
            var fresh = reached
            while !fresh.isEmpty {
                fresh = ends(of: part, in: letters, from: fresh).subtracting(reached)
                reached.formUnion(fresh)
            }
            return reached
        }
    }

    /// Reads an expression; nil for one that is not taken.
    private struct Parser {
        private let letters: [Character]
        private var place = 0
        private var depth = 0

        init(_ letters: [Character]) { self.letters = letters }

        var isAtEnd: Bool { place == letters.count }
        private var next: Character? { isAtEnd ? nil : letters[place] }

        private mutating func take() -> Character? {
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
            guard let letter = take() else { return nil }
            switch letter {
            case ".": return .letters([], isExcluded: true)
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
            default: return .letters([letter], isExcluded: false)
            }
        }

        private mutating func escaped() -> Expression? {
            guard let letter = take() else { return nil }
            if letter == "d" { return .letters(Set("0123456789"), isExcluded: false) }
            if letter == "w" {
                let all = "abcdefghijklmnopqrstuvwxyz"
                return .letters(
                    Set(all + all.uppercased() + "0123456789_"), isExcluded: false)
            }
            guard !letter.isLetter, !letter.isNumber else { return nil }
            return .letters([letter], isExcluded: false)
        }

        private mutating func letterClass() -> Expression? {
            let isExcluded = next == "^"
            if isExcluded { place += 1 }
            var set: Set<Character> = []
            while let letter = take(), letter != "]" {
                guard letter != "\\", let low = letter.asciiValue else { return nil }
                guard next == "-", place + 1 < letters.count, letters[place + 1] != "]" else {
                    set.insert(letter)
                    continue
                }
                guard let high = letters[place + 1].asciiValue, low <= high else { return nil }
                set.formUnion((low ... high).map { Character(UnicodeScalar($0)) })
                place += 2
            }
            return place <= letters.count && letters[place - 1] == "]"
                ? .letters(set, isExcluded: isExcluded) : nil
        }
    }
}
