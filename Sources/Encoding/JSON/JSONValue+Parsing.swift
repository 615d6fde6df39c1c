extension JSONValue {
    /// Parses a document: the whole of `bytes` is one value.
    ///
    /// - Throws: `JSONError`.
    public static func parse(_ bytes: [UInt8]) throws -> JSONValue {
        var reader = JSONReader(bytes)
        let value = try reader.value()
        try reader.end()
        return value
    }

    /// Parses a document: the whole of `text` is one value.
    ///
    /// - Throws: `JSONError`.
    public static func parse(_ text: String) throws -> JSONValue { try parse(Array(text.utf8)) }
}

extension JSONReader {
    /// Reads a whole value.
    public mutating func value() throws -> JSONValue {
        switch try peek() {
        case UInt8(ascii: "{"):
            var members: [(key: String, value: JSONValue)] = []
            try object { key, reader in members.append((key, try reader.value())) }
            return .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            try array { _, reader in elements.append(try reader.value()) }
            return .array(elements)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try word("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try word("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try word("null")
            return .null
        default: return .number(try numberText())
        }
    }
}
