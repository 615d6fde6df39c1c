/// A JSON value in memory.
///
/// Objects keep the order of their members.
public enum JSONValue: Sendable {
    case null
    case bool(Bool)
    /// The number as it was written, so that a large integer stays exact.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([(key: String, value: JSONValue)])

    /// The member of an object with this key; nil for other values and other keys.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }

    /// Whether this is `null`.
    public var isNull: Bool { if case .null = self { true } else { false } }
    /// The text of a string, else nil.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The value of a boolean, else nil.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The elements of an array, else nil.
    public var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
    /// The members of an object in their order, else nil.
    public var object: [(key: String, value: JSONValue)]? {
        if case .object(let members) = self { members } else { nil }
    }
    /// The number, if it is finite as a `Double`.
    public var double: Double? {
        guard case .number(let text) = self, let value = Double(text), value.isFinite else {
            return nil
        }
        return value
    }
    /// The number, if it is whole and fits.
    ///
    /// `3.0` and `1e2` are whole.
    public var integer: Int? {
        guard case .number(let text) = self else { return nil }
        if let value = Int(text) { return value }
        guard let value = double, value == value.rounded(), abs(value) < 0x1p53 else { return nil }
        return Int(value)
    }

    /// What a message calls this kind of value.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: Equatable {
    /// Members of objects may stand in any order; numbers are compared by their value.
    public static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): a == b || Double(a) == Double(b)
        case (.string(let a), .string(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)):
            a.count == b.count
                && a.allSatisfy { member in
                    b.contains { $0.key == member.key && $0.value == member.value }
                }
        default: false
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .number(String(value)) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(elements.map { (key: $0.0, value: $0.1) })
    }

    /// A finite number; others, which JSON cannot hold, become null.
    public static func number(_ value: Double) -> JSONValue {
        guard value.isFinite else { return .null }
        return .number(value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)")
    }

    /// A whole number.
    public static func number(_ value: Int) -> JSONValue { .number(String(value)) }

    /// A string, or null.
    public static func optional(_ value: String?) -> JSONValue {
        value.map { .string($0) } ?? .null
    }
}
