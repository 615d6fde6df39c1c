/// Reads JSON (RFC 8259) from bytes, one value at a time, so that a tokenizer of a million
/// entries is taken in without building a tree of it.
///
/// Nothing is trusted: depth is bounded, every read is checked, and errors name the byte offset.
struct JSONCursor {
    /// Deeper than any published tokenizer or config (they stay under 8).
    static let maximumDepth = 64

    private let bytes: [UInt8]
    private(set) var position = 0
    /// The last string read, unescaped, as UTF-8.
    ///
    /// Reused, so that a key costs no allocation.
    private(set) var text: [UInt8] = []

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// Continues from a place noted earlier.
    mutating func seek(_ position: Int) {
        precondition(position >= 0 && position <= bytes.count)
        self.position = position
    }

    // MARK: Structure

    /// Calls `body` at the value of each key; `body` must read or skip that value.
    mutating func object(
        depth: Int = 0, _ body: (inout JSONCursor, _ key: String) throws -> Void
    ) throws {
        try elements(open: "{", close: "}", depth: depth) { cursor in
            try cursor.string()
            let key = cursor.textAsString
            try cursor.expect(":")
            try body(&cursor, key)
        }
    }

    /// Calls `body` at each element; `body` must read or skip it.
    mutating func array(depth: Int = 0, _ body: (inout JSONCursor) throws -> Void) throws {
        try elements(open: "[", close: "]", depth: depth, body)
    }

    private mutating func elements(
        open: Unicode.Scalar, close: Unicode.Scalar, depth: Int,
        _ body: (inout JSONCursor) throws -> Void
    ) throws {
        guard depth < Self.maximumDepth else {
            throw fault("values nest deeper than \(Self.maximumDepth)")
        }
        try expect(open)
        if accept(close) { return }
        repeat { try body(&self) } while accept(",")
        try expect(close)
    }

    /// Throws unless only white space is left.
    mutating func end() throws {
        skipSpace()
        guard position == bytes.count else { throw fault("text follows the last value") }
    }

    mutating func expect(_ character: Unicode.Scalar) throws {
        guard accept(character) else { throw fault("expected \"\(character)\"") }
    }

    mutating func accept(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else {
            return false
        }
        position += 1
        return true
    }

    /// The next significant byte, not consumed.
    mutating func peek() -> UInt8? {
        skipSpace()
        return position < bytes.count ? bytes[position] : nil
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    func fault(_ message: String) -> JSONError { JSONError(message: message, offset: position) }

    // MARK: Scalars

    /// The last string as a `String`.
    var textAsString: String { String(decoding: text, as: UTF8.self) }

    /// Reads a string into `text`.
    mutating func string() throws {
        try expect("\"")
        text.removeAll(keepingCapacity: true)
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard JSONCursor.isUTF8(text) else { throw fault("a string is not UTF-8") }
                return
            case UInt8(ascii: "\\"): try escape()
            case 0 ..< 0x20: throw fault("a control character stands bare in a string")
            default: text.append(byte)
            }
        }
        throw fault("a string does not end")
    }

    private mutating func escape() throws {
        guard position < bytes.count else { throw fault("a string does not end") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): try unicodeEscape()
        default: throw fault("an escape is not one of JSON's")
        }
    }

    private mutating func unicodeEscape() throws {
        var value = try hexadecimal()
        if 0xD800 ..< 0xDC00 ~= value, position + 1 < bytes.count,
            bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u")
        {
            position += 2
            let low = try hexadecimal()
            guard 0xDC00 ..< 0xE000 ~= low else { throw fault("a surrogate stands alone") }
            value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(value) else { throw fault("a surrogate stands alone") }
        text.append(contentsOf: UTF8.encode(scalar)!)
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard position + 4 <= bytes.count else { throw fault("a string does not end") }
        var value: UInt32 = 0
        for byte in bytes[position ..< position + 4] {
            switch byte {
            case 0x30 ... 0x39: value = value << 4 | UInt32(byte - 0x30)
            case 0x41 ... 0x46: value = value << 4 | UInt32(byte - 0x41 + 10)
            case 0x61 ... 0x66: value = value << 4 | UInt32(byte - 0x61 + 10)
            default: throw fault("\\u is not followed by four hexadecimal digits")
            }
        }
        position += 4
        return value
    }

    private static func isUTF8(_ bytes: [UInt8]) -> Bool {
        for byte in bytes where byte >= 0x80 {
            return String(validating: bytes, as: UTF8.self) != nil
        }
        return true
    }

    /// Reads a whole number.
    mutating func integer() throws -> Int {
        let start = position
        let literal = try numberLiteral()
        guard let value = Int(literal) else {
            position = start
            throw fault("\(literal.prefix(40)) is not a whole number of 64 bits")
        }
        return value
    }

    mutating func numberLiteral() throws -> String {
        skipSpace()
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case 0x30 ... 0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
                UInt8(ascii: "e"), UInt8(ascii: "E"):
                position += 1
            default:
                return try literal(from: start)
            }
        }
        return try literal(from: start)
    }

    private func literal(from start: Int) throws -> String {
        guard position > start else { throw fault("expected a number") }
        return String(decoding: bytes[start ..< position], as: UTF8.self)
    }

    mutating func word(_ word: StaticString) throws {
        skipSpace()
        let expected = word.description.utf8
        guard bytes[position...].starts(with: expected) else { throw fault("expected \(word)") }
        position += expected.count
    }
}

/// What is wrong with a JSON text, and where.
struct JSONError: Error, Equatable, CustomStringConvertible {
    let message: String
    let offset: Int

    var description: String { "\(message) (byte \(offset))" }
}
