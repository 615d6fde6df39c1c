/// Reads a chat template as Jinja's own lexer does, and writes what it read in one form: two files
/// that differ only in layout, comments, quotes or escapes read the same.
///
/// White space is cut as Transformers compiles templates: `trim_blocks` and `lstrip_blocks`.
struct JinjaLexer {
    private let source: [UInt8]
    private var index = 0
    /// Whether the tag before ended a line, so that the next begins one.
    private var beginsLine = true
    /// Text outside tags that was not written yet.
    private var data: [UInt8] = []
    private var result: [UInt8] = []

    /// What stands between `{%` and `%}`, or between `{{` and `}}`.
    private enum Tag {
        case block, variable

        var end: [UInt8] { Array((self == .block ? "%}" : "}}").utf8) }
    }

    /// The template in its one form; nil for what this lexer does not read, such as `{% raw %}`.
    static func canonical(_ template: String) -> [UInt8]? {
        var lexer = JinjaLexer(template)
        return lexer.read() ? lexer.result : nil
    }

    private init(_ template: String) {
        var bytes: [UInt8] = []
        for byte in template.utf8 {
            if byte == UInt8(ascii: "\n"), bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
            bytes.append(byte)
        }
        bytes = bytes.map { $0 == UInt8(ascii: "\r") ? UInt8(ascii: "\n") : $0 }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        source = bytes
    }

    private mutating func read() -> Bool {
        while let start = nextTag() {
            let kind = source[start + 1]
            var text = source[index ..< start]
            index = start + 2
            if takes("-") {
                while let last = text.last, Self.isSpace(last) { text.removeLast() }
            } else if !takes("+"), kind != UInt8(ascii: "{") {
                let line = text.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
                if line != nil || beginsLine {
                    let first = line ?? text.startIndex
                    if text[first...].allSatisfy(Self.isSpace) { text = text[..<first] }
                }
            }
            data += text
            switch kind {
            case UInt8(ascii: "#"): guard skipComment() else { return false }
            case UInt8(ascii: "%"): guard readTag(.block) else { return false }
            default: guard readTag(.variable) else { return false }
            }
        }
        data += source[index...]
        flush()
        return true
    }

    /// Where the next `{%`, `{{` or `{#` begins.
    private func nextTag() -> Int? {
        var at = index
        while at + 1 < source.count {
            if source[at] == UInt8(ascii: "{"), "%{#".utf8.contains(source[at + 1]) { return at }
            at += 1
        }
        return nil
    }

    private mutating func skipComment() -> Bool {
        while index < source.count {
            if takes("-#}") {
                skipSpace()
                beginsLine = index > 0 && source[index - 1] == UInt8(ascii: "\n")
                return true
            }
            if takes("+#}") {
                beginsLine = false
                return true
            }
            if takes("#}") {
                beginsLine = takes("\n")
                return true
            }
            index += 1
        }
        return false
    }

    private mutating func readTag(_ tag: Tag) -> Bool {
        flush()
        result += Array((tag == .block ? "{%" : "{{").utf8)
        var depth = 0
        while true {
            skipSpace()
            guard index < source.count else { return false }
            if depth == 0, ends(tag) {
                result += tag.end
                return true
            }
            let byte = source[index]
            switch byte {
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                guard readString(byte) else { return false }
                continue
            case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
            default: break
            }
            guard depth >= 0, readWord() || readOperator() else { return false }
        }
    }

    /// Takes a tag's end and the white space that goes with it.
    private mutating func ends(_ tag: Tag) -> Bool {
        let end = String(decoding: tag.end, as: UTF8.self)
        if takes("-" + end) {
            skipSpace()
            beginsLine = source[index - 1] == UInt8(ascii: "\n")
            return true
        }
        if tag == .block, takes("+" + end) {
            beginsLine = false
            return true
        }
        guard takes(end) else { return false }
        beginsLine = tag == .block && takes("\n")
        return true
    }

    /// A name or a number.
    private mutating func readWord() -> Bool {
        let start = index
        while index < source.count, Self.isWord(source[index]) { index += 1 }
        guard index > start else { return false }
        let word = source[start ..< index]
        // `{% raw %}` would change how the rest is read.
        guard !word.elementsEqual("raw".utf8) else { return false }
        write("T", word)
        return true
    }

    private mutating func readOperator() -> Bool {
        for name in ["//", "**", "==", "!=", ">=", "<="] where takes(name) {
            write("T", name.utf8)
            return true
        }
        let byte = source[index]
        guard "+-/*%~[](){}><=.:|,;".utf8.contains(byte) else { return false }
        index += 1
        write("T", [byte])
        return true
    }

    private mutating func readString(_ quote: UInt8) -> Bool {
        index += 1
        var text: [UInt8] = []
        while index < source.count, source[index] != quote {
            guard source[index] == UInt8(ascii: "\\") else {
                text.append(source[index])
                index += 1
                continue
            }
            guard index + 1 < source.count, let bytes = escape(source[index + 1]) else {
                return false
            }
            index += 2
            text += bytes
        }
        guard index < source.count else { return false }
        index += 1
        write("S", text)
        return true
    }

    /// What an escape in a string stands for; nil for the rare ones.
    private func escape(_ letter: UInt8) -> [UInt8]? {
        switch letter {
        case UInt8(ascii: "n"): [UInt8(ascii: "\n")]
        case UInt8(ascii: "t"): [UInt8(ascii: "\t")]
        case UInt8(ascii: "r"): [UInt8(ascii: "\r")]
        case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): [letter]
        default: nil
        }
    }

    // MARK: Bytes

    private mutating func takes(_ word: String) -> Bool {
        guard source[index...].starts(with: word.utf8) else { return false }
        index += word.utf8.count
        return true
    }

    private mutating func skipSpace() {
        while index < source.count, Self.isSpace(source[index]) { index += 1 }
    }

    private mutating func flush() {
        if !data.isEmpty { write("D", data) }
        data = []
    }

    private mutating func write(_ kind: String, _ bytes: some Sequence<UInt8>) {
        result += Array(kind.utf8)
        result += bytes
        result.append(0)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (0x09 ... 0x0D).contains(byte)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (0x30 ... 0x39).contains(byte)
            || (0x41 ... 0x5A).contains(byte) || (0x61 ... 0x7A).contains(byte)
    }
}
