/// Reads one JSON document from untrusted bytes.
///
/// Depth is limited because the parser recurses; size is limited by the caller. Keys must differ:
/// two readers of a document with a repeated key may see different requests.
struct JSONParser {
    /// A place in the text and what is wrong there.
    struct Fault: Error, CustomStringConvertible {
        let position: Int
        let reason: String
        var description: String { "byte \(position): \(reason)" }
    }

    /// No client nests deeper than a schema inside a tool inside a request.
    static let depthLimit = 64

    private let bytes: [UInt8]
    private var position = 0

    /// Parses the whole of `bytes`.
    static func parse(_ bytes: [UInt8]) throws(Fault) -> JSONValue {
        var parser = JSONParser(bytes: bytes)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else {
            throw parser.fault("text after the end of the document")
        }
        return value
    }

    /// Parses the whole of `text`.
    static func parse(_ text: String) throws(Fault) -> JSONValue { try parse(Array(text.utf8)) }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private func fault(_ reason: String) -> Fault { Fault(position: position, reason: reason) }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(Fault) -> JSONValue {
        guard depth < Self.depthLimit else {
            throw fault("nesting deeper than \(Self.depthLimit)")
        }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case nil: throw fault("the document ends where a value should be")
        case let byte?:
            let isNumber =
                byte == UInt8(ascii: "-")
                || (UInt8(ascii: "0") ... UInt8(ascii: "9")).contains(byte)
            guard isNumber else { throw fault("not the start of a value") }
            return try number()
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(Fault) -> JSONValue {
        guard bytes[position...].starts(with: word.utf8) else { throw fault("expected \(word)") }
        position += word.utf8.count
        return value
    }

    private mutating func object(depth: Int) throws(Fault) -> JSONValue {
        position += 1
        var members: [(key: String, value: JSONValue)] = []
        var keys: Set<String> = []
        skipSpace()
        if take("}") { return .object([]) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw fault("expected a key") }
            let key = try string()
            guard keys.insert(key).inserted else { throw fault("a key is given twice") }
            skipSpace()
            guard take(":") else { throw fault("expected a colon") }
            members.append((key, try value(depth: depth + 1)))
            skipSpace()
        } while take(",")
        guard take("}") else { throw fault("expected a comma or the end of an object") }
        return .object(members)
    }

    private mutating func array(depth: Int) throws(Fault) -> JSONValue {
        position += 1
        var values: [JSONValue] = []
        skipSpace()
        if take("]") { return .array([]) }
        repeat {
            values.append(try value(depth: depth + 1))
            skipSpace()
        } while take(",")
        guard take("]") else { throw fault("expected a comma or the end of an array") }
        return .array(values)
    }

    private mutating func number() throws(Fault) -> JSONValue {
        let start = position
        _ = take("-")
        if !take("0") { try digits() }
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        guard position - start <= 64 else { throw fault("a number longer than 64 characters") }
        return .number(String(decoding: bytes[start ..< position], as: UTF8.self))
    }

    private mutating func digits() throws(Fault) {
        let start = position
        while let byte = next, (UInt8(ascii: "0") ... UInt8(ascii: "9")).contains(byte) {
            position += 1
        }
        guard position > start else { throw fault("expected a digit") }
    }

    private mutating func string() throws(Fault) -> String {
        position += 1
        var content: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw fault("a string that is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"): content += Array(String(try escape()).utf8)
            case 0 ..< 0x20: throw fault("a control character inside a string")
            default: content.append(byte)
            }
        }
        throw fault("the document ends inside a string")
    }

    private mutating func escape() throws(Fault) -> Unicode.Scalar {
        guard let byte = next else { throw fault("the document ends inside a string") }
        position += 1
        switch byte {
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "u"): return try unicodeEscape()
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        default: throw fault("an unknown escape")
        }
    }

    private mutating func unicodeEscape() throws(Fault) -> Unicode.Scalar {
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        // Half of a surrogate pair: the other half must follow, or it is no character at all.
        guard first < 0xDC00, take("\\"), take("u") else { throw fault("a lone surrogate") }
        let second = try hexadecimal()
        guard (0xDC00 ... 0xDFFF).contains(second) else { throw fault("a lone surrogate") }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))!
    }

    private mutating func hexadecimal() throws(Fault) -> UInt32 {
        guard position + 4 <= bytes.count,
            let value = UInt32(
                String(decoding: bytes[position ..< position + 4], as: UTF8.self), radix: 16),
            bytes[position] != UInt8(ascii: "+"), bytes[position] != UInt8(ascii: "-")
        else { throw fault("expected four hexadecimal digits") }
        position += 4
        return value
    }
}
