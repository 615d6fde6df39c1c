import Encoding

/// A name of modules as `targets` and `ignore` of compressed-tensors have them: a whole name, or
/// after `re:` a regular expression that a name begins with.
///
/// Expressions have letters, `.`, classes, `( | )` and `* + ?`. They are matched by following all
/// ways at once, so the time is at most the product of both lengths, whatever the expression.
/// Instead of: Swift's `Regex`, which tries one way after the other, and a hostile file could make
/// that take forever.
struct NamePattern: Sendable, Equatable {
    /// The longest expression that is read, in bytes; published ones have 40.
    static let lengthLimit = 512
    /// What an expression begins with.
    static let mark = "re:"

    let text: String
    private let program: Program?

    indirect enum Expression {
        case letters(Letters)
        case start, end
        case sequence([Expression])
        case choice([Expression])
        case repeated(Expression, atLeastOnce: Bool)
        case optional(Expression)
    }

    /// - Throws: `ModelConfiguration.Refusal` without a key for an expression that is not read.
    init(_ text: String) throws {
        self.text = text
        guard text.hasPrefix(Self.mark) else {
            program = nil
            return
        }
        let count = text.utf8.count
        guard count <= Self.lengthLimit else {
            throw ModelConfiguration.Refusal(
                key: "",
                fact: "\(text.printable(limit: 80)) has \(count) bytes; an expression has at most "
                    + "\(Self.lengthLimit)")
        }
        var parser = Parser(Array(text.utf8.dropFirst(Self.mark.utf8.count)))
        guard let parsed = parser.choice(), parser.isAtEnd else {
            throw ModelConfiguration.Refusal(
                key: "",
                fact: "\(text.printable(limit: 80)) is not taken; taken are names, and after re: "
                    + "expressions of ASCII letters, classes, groups and * + ?")
        }
        program = Program(parsed)
    }

    /// Whether a module has such a name.
    func matches(_ name: String) -> Bool {
        guard let program else { return name == text }
        return program.matches(Array(name.utf8))
    }
}

/// Names and expressions of which any may match.
struct NamePatterns: Sendable, Equatable {
    /// Expressions that are read at most; published files have up to 10. Each is tried on each
    /// name, while names are looked up.
    static let expressionLimit = 64
    /// Bytes of all expressions together; published ones have 200. The time for a name grows with
    /// them.
    static let byteLimit = 1024

    /// As they were written.
    let texts: [String]
    private let names: Set<String>
    private let expressions: [NamePattern]

    /// None.
    init() { (texts, names, expressions) = ([], [], []) }

    /// - Throws: `ModelConfiguration.Refusal` without a key for what is not read.
    init(_ texts: [String]) throws {
        self.texts = texts
        let written = texts.filter { $0.hasPrefix(NamePattern.mark) }
        guard written.count <= Self.expressionLimit else {
            throw ModelConfiguration.Refusal(
                key: "",
                fact: "\(written.count) expressions after re:; the limit is "
                    + "\(Self.expressionLimit)")
        }
        let count = written.reduce(0) { $0 + $1.utf8.count }
        guard count <= Self.byteLimit else {
            throw ModelConfiguration.Refusal(
                key: "",
                fact: "\(count) bytes of expressions after re:; the limit is \(Self.byteLimit)")
        }
        expressions = try written.map { try NamePattern($0) }
        names = Set(texts.filter { !$0.hasPrefix(NamePattern.mark) })
    }

    /// Whether this is one of the names, word for word.
    func contains(_ name: String) -> Bool { names.contains(name) }

    /// Whether a module has one of these names.
    func matches(_ name: String) -> Bool {
        names.contains(name) || expressions.contains { $0.matches(name) }
    }
}
