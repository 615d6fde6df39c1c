/// A JSON value in memory, for the small parts of a file.
enum JSONValue: Equatable {
    case null
    case boolean(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([(key: String, value: JSONValue)])

    static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.boolean(let a), .boolean(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)):
            a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && $0.value == $1.value }
        default: false
        }
    }

    /// The value of a key, or nil: also for values that are not objects.
    ///
    /// The last of equal keys counts.
    subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.key == key }?.value
    }

    var string: String? { if case .string(let value) = self { value } else { nil } }
    var boolean: Bool? { if case .boolean(let value) = self { value } else { nil } }
    var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    var integer: Int? { if case .number(let value) = self { Int(value) } else { nil } }
    var isNull: Bool { self == .null }
}

extension JSONCursor {
    /// Reads a whole value.
    mutating func value(depth: Int = 0) throws -> JSONValue {
        switch peek() {
        case UInt8(ascii: "{"):
            var members: [(key: String, value: JSONValue)] = []
            try object(depth: depth) { cursor, key in
                members.append((key, try cursor.value(depth: depth + 1)))
            }
            return .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            try array(depth: depth) { elements.append(try $0.value(depth: depth + 1)) }
            return .array(elements)
        case UInt8(ascii: "\""):
            try string()
            return .string(textAsString)
        case UInt8(ascii: "t"):
            try word("true")
            return .boolean(true)
        case UInt8(ascii: "f"):
            try word("false")
            return .boolean(false)
        case UInt8(ascii: "n"):
            try word("null")
            return .null
        default:
            let literal = try numberLiteral()
            guard Double(literal) != nil else { throw fault("expected a value") }
            return .number(literal)
        }
    }

    /// Passes over a value.
    mutating func skip(depth: Int = 0) throws {
        switch peek() {
        case UInt8(ascii: "{"):
            try object(depth: depth) { cursor, _ in try cursor.skip(depth: depth + 1) }
        case UInt8(ascii: "["):
            try array(depth: depth) { try $0.skip(depth: depth + 1) }
        case UInt8(ascii: "\""): try string()
        default: _ = try value(depth: depth)
        }
    }
}
