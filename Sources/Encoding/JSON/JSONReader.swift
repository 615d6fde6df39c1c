/// Reads JSON from untrusted bytes, one value at a time, holding nothing but its place.
///
/// 1. Every step consumes input or throws, so reading ends.
/// 2. Nesting is limited, so the stack does not grow with the input.
/// 3. Integers are exact or refused; no number passes through a `Double` unasked.
/// 4. A string costs no allocation until it is asked for as a `String`, so that a vocabulary of
///    a million entries is read at the speed of its bytes.
public struct JSONReader {
    /// Deeper than any published checkpoint file and any schema inside a tool inside a request, and
    /// far from the end of a thread's stack.
    public static let depthLimit = 64

    /// More digits than any number of 64 bits needs, in either format.
    static let numberLimit = 64

    private let bytes: [UInt8]
    public private(set) var position = 0
    private var depth = 0
    /// The last string read, without its escapes, as UTF-8.
    public private(set) var text: [UInt8] = []

    /// Reads from the first byte.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Continues from the place of a value that was skipped; no container may be open.
    public mutating func seek(_ position: Int) {
        precondition(depth == 0 && position >= 0 && position <= bytes.count)
        self.position = position
    }

    /// Reads an object and calls `member` at each value, which it must consume.
    ///
    /// A key that occurs twice is refused: two readers could disagree about which one counts.
    public mutating func object(_ member: (String, inout JSONReader) throws -> Void) throws {
        try open("{")
        var seen: Set<String> = []
        while try !close("}", first: seen.isEmpty) {
            let start = position
            let key = try string()
            guard seen.insert(key).inserted else {
                throw JSONError(
                    position: start, reason: "expected a key other than \(key.printable())")
            }
            try expect(":")
            try member(key, &self)
        }
    }

    /// Reads an array and calls `element` at each value, which it must consume.
    public mutating func array(_ element: (Int, inout JSONReader) throws -> Void) throws {
        try open("[")
        var count = 0
        while try !close("]", first: count == 0) {
            try element(count, &self)
            count += 1
        }
    }

    /// Reads an object of which no key is known, with each key in `text`.
    public mutating func members(_ member: (inout JSONReader) throws -> Void) throws {
        try open("{")
        var first = true
        while try !close("}", first: first) {
            first = false
            try stringBytes()
            try expect(":")
            try member(&self)
        }
    }

    /// Reads an integer written with digits alone.
    public mutating func integer() throws -> Int {
        let literal = try numberText()
        guard let value = Int(literal) else { throw malformed("an integer of 64 bits") }
        return value
    }

    /// Reads a string and decodes its escapes.
    public mutating func string() throws -> String {
        try stringBytes()
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads a string into `text`.
    public mutating func stringBytes() throws {
        try expect("\"")
        text.removeAll(keepingCapacity: true)
        var allASCII = true
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard allASCII || String(validating: text, as: UTF8.self) != nil else {
                    throw malformed("UTF-8")
                }
                return
            case UInt8(ascii: "\\"): text.append(contentsOf: UTF8.encode(try escape())!)
            case 0 ..< 0x20: throw malformed("an escaped control character")
            default:
                allASCII = allASCII && byte < 0x80
                text.append(byte)
            }
        }
        throw malformed("the end of a string")
    }

    /// Passes over any value.
    public mutating func skip() throws {
        switch try peek() {
        case UInt8(ascii: "{"): try members { reader in try reader.skip() }
        case UInt8(ascii: "["): try array { _, reader in try reader.skip() }
        case UInt8(ascii: "\""): try stringBytes()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        default: _ = try numberText()
        }
    }

    /// Requires that only white space is left.
    public mutating func end() throws {
        skipSpace()
        guard position == bytes.count else { throw malformed("the end") }
    }

    /// An error at the present position.
    public func malformed(_ expected: String) -> JSONError {
        JSONError(position: position, reason: "expected \(expected)")
    }

    // MARK: - Characters

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    public mutating func peek() throws -> UInt8 {
        skipSpace()
        guard position < bytes.count else { throw malformed("a value") }
        return bytes[position]
    }

    private mutating func expect(_ character: Unicode.Scalar) throws {
        guard try peek() == UInt8(ascii: character) else { throw malformed("\(character)") }
        position += 1
    }

    private mutating func open(_ bracket: Unicode.Scalar) throws {
        try expect(bracket)
        depth += 1
        guard depth <= Self.depthLimit else {
            throw malformed("at most \(Self.depthLimit) levels")
        }
    }

    /// Consumes the closing bracket, or the comma before another element.
    private mutating func close(_ bracket: Unicode.Scalar, first: Bool) throws -> Bool {
        if try peek() == UInt8(ascii: bracket) {
            position += 1
            depth -= 1
            return true
        }
        if !first { try expect(",") }
        return false
    }

    mutating func word(_ word: StaticString) throws {
        for byte in String(describing: word).utf8 {
            guard position < bytes.count, bytes[position] == byte else {
                throw malformed("\(word)")
            }
            position += 1
        }
    }

    /// A number as it is written (RFC 8259, section 6).
    mutating func numberText() throws -> String {
        _ = try peek()
        let start = position
        _ = take("-")
        if !take("0") { try digits(from: start) }
        if take(".") { try digits(from: start) }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits(from: start)
        }
        guard position - start <= Self.numberLimit else {
            throw malformed("a number of at most \(Self.numberLimit) characters")
        }
        return String(decoding: bytes[start ..< position], as: UTF8.self)
    }

    /// Passes over at least one digit; without one, what began at `start` is no value.
    private mutating func digits(from start: Int) throws {
        let first = position
        while position < bytes.count, (0x30 ... 0x39).contains(bytes[position]) { position += 1 }
        guard position > first else {
            if first == start { throw malformed("a value") }
            throw malformed("a digit")
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else {
            return false
        }
        position += 1
        return true
    }

    private mutating func escape() throws -> Unicode.Scalar {
        guard position < bytes.count else { throw malformed("an escape") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
            return Unicode.Scalar(byte)
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw malformed("an escape")
        }
    }

    private mutating func unicodeEscape() throws -> Unicode.Scalar {
        let high = try hexDigits()
        if let scalar = Unicode.Scalar(high) { return scalar }
        guard high < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        else { throw malformed("a surrogate pair") }
        position += 2
        let low = try hexDigits()
        guard (0xDC00 ..< 0xE000).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))
        else { throw malformed("a surrogate pair") }
        return scalar
    }

    private mutating func hexDigits() throws -> UInt32 {
        guard position + 4 <= bytes.count,
            let value = UInt32(
                String(decoding: bytes[position ..< position + 4], as: UTF8.self), radix: 16),
            bytes[position] != UInt8(ascii: "+"), bytes[position] != UInt8(ascii: "-")
        else { throw malformed("four hexadecimal digits") }
        position += 4
        return value
    }
}
