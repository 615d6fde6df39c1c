extension JSONValue {
    /// The value as compact JSON text.
    public var text: String { encoded() }

    /// The value as JSON text.
    ///
    /// - Parameter indent: Spaces per level, each member on a line; nil for one line.
    public func encoded(indent: Int? = nil) -> String {
        var output = ""
        write(into: &output, indent: indent, level: 0)
        return output
    }

    private func write(into output: inout String, indent: Int?, level: Int) {
        switch self {
        case .null: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .number(let text): output += text
        case .string(let value): output += Self.quoted(value)
        case .array(let values):
            Self.write("[", "]", values, into: &output, indent: indent, level: level) {
                $0.write(into: &$1, indent: indent, level: level + 1)
            }
        case .object(let members):
            Self.write("{", "}", members, into: &output, indent: indent, level: level) {
                $1 += Self.quoted($0.key) + (indent == nil ? ":" : ": ")
                $0.value.write(into: &$1, indent: indent, level: level + 1)
            }
        }
    }

    private static func write<Item>(
        _ open: String, _ close: String, _ items: [Item], into output: inout String,
        indent: Int?, level: Int, _ item: (Item, inout String) -> Void
    ) {
        func line(_ level: Int) -> String {
            guard let indent, !items.isEmpty else { return "" }
            return "\n" + String(repeating: " ", count: indent * level)
        }
        output += open
        for (index, value) in items.enumerated() {
            output += (index > 0 ? "," : "") + line(level + 1)
            item(value, &output)
        }
        output += line(level) + close
    }

    /// A string as a JSON literal.
    public static func quoted(_ string: String) -> String {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        bytes.reserveCapacity(string.utf8.count + 2)
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x0A: bytes += Array("\\n".utf8)
            case 0x0D: bytes += Array("\\r".utf8)
            case 0x09: bytes += Array("\\t".utf8)
            case 0 ..< 0x20, 0x7F:
                let digits = Array("0123456789abcdef".utf8)
                bytes += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return String(decoding: bytes, as: UTF8.self)
    }
}
