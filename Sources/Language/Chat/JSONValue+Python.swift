import Encoding

extension JSONValue {
    /// JSON text as Python's `json.dumps` writes it with `ensure_ascii=False`, by which templates
    /// write values.
    var spacedText: String { pythonText(separators: (", ", ": ")) }

    /// The same with other separators.
    ///
    /// - Parameter separators: What stands between items, and between a key and its value.
    func pythonText(separators: (item: String, key: String)) -> String {
        switch self {
        case .array(let values):
            "["
                + values.map { $0.pythonText(separators: separators) }
                .joined(separator: separators.item) + "]"
        case .object(let members):
            "{"
                + members.map {
                    Self.pythonQuoted($0.key) + separators.key
                        + $0.value.pythonText(separators: separators)
                }
                .joined(separator: separators.item) + "}"
        case .string(let text): Self.pythonQuoted(text)
        case .number(let text): Self.pythonNumber(text, infinity: "Infinity")
        case .null, .bool: text
        }
    }

    /// The value with the members of each object in the order of their keys, as Python sorts texts.
    var sortedByKey: JSONValue {
        switch self {
        case .array(let values): .array(values.map(\.sortedByKey))
        case .object(let members):
            .object(
                members.map { (key: $0.key, value: $0.value.sortedByKey) }
                    .sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) })
        default: self
        }
    }

    /// A value as Python's `str` writes it, as far as types and descriptions of schemas need.
    var pythonText: String {
        switch self {
        case .string(let text): text
        case .bool(let flag): flag ? "True" : "False"
        case .null: "None"
        case .number(let text): Self.pythonNumber(text, infinity: "inf")
        case .array(let values):
            "["
                + values.map { $0.string.map { "'\($0)'" } ?? $0.pythonText }
                .joined(separator: ", ") + "]"
        case .object: spacedText
        }
    }

    /// A number as Python writes what it read: whole ones digit by digit, others as the shortest
    /// text that is read as the same double.
    private static func pythonNumber(_ text: String, infinity: String) -> String {
        let isWhole = !text.utf8.contains { ".eE".utf8.contains($0) }
        guard !isWhole, let value = Double(text) else { return text == "-0" ? "0" : text }
        guard value.isFinite else { return (value < 0 ? "-" : "") + infinity }
        // Swift writes a power from here on, Python from 1e16.
        let isLong = (0x1p53 ..< 1e16).contains(value.magnitude)
        return isLong ? "\(Int(value)).0" : value.description
    }

    /// A string as JSON, in which Python escapes what must be and nothing else.
    private static func pythonQuoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{8}": quoted += "\\b"
            case "\u{C}": quoted += "\\f"
            case "\0" ..< " ":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
