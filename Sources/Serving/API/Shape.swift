import Encoding

/// What a part of a request may be.
///
/// The same value checks requests and writes the OpenAPI schema, so that the two cannot disagree.
indirect enum Shape: Sendable {
    case any
    case null
    case boolean
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    case string(ClosedRange<Int>)
    case enumeration([String])
    case array(Shape, ClosedRange<Int>)
    /// Other members than these are refused by their names.
    case object([Field])
    /// Other members than these go to the model as they are.
    case open([Field])
    /// One member, an enumeration, decides which others there are; without it they are `otherwise`,
    /// where that is something.
    case tagged(String, [(tag: String, fields: [Field])], otherwise: [Field]? = nil)
    /// What is accepted because it asks for nothing; other values are refused with the reason.
    case only([JSONValue], String)
    /// Any keys of at most so many characters, values of one shape, a limited number of them.
    case map(Shape, limit: Int, keyLength: Int = Shape.keyLength)
    case either([Shape])

    /// Characters of a key where no API says less: a path to a file may be one.
    static let keyLength = 1024

    /// One member of an object.
    struct Field: Sendable {
        let name: String
        let shape: Shape
        var isRequired = false
        var note: String?

        init(_ name: String, _ shape: Shape, required: Bool = false, _ note: String? = nil) {
            self.name = name
            self.shape = shape
            self.isRequired = required
            self.note = note
        }
    }

    /// This, or null: what clients send for a field they leave alone.
    var orNull: Shape { .either([self, .null]) }

    /// Refuses a value that does not have this shape, naming the place.
    func check(_ value: JSONValue, at path: String) throws(APIError) {
        switch (self, value) {
        case (.any, _), (.null, .null), (.boolean, .bool): return
        case (.integer(let range), .number):
            guard let number = value.integer else { break }
            guard range.contains(number) else {
                throw Self.outside(path, value.text, "\(range.lowerBound)", "\(range.upperBound)")
            }
            return
        case (.number(let range), .number):
            guard let number = value.double else { break }
            guard range.contains(number) else {
                throw Self.outside(path, value.text, "\(range.lowerBound)", "\(range.upperBound)")
            }
            return
        case (.string(let range), .string(let text)):
            let count = text.unicodeScalars.count
            guard range.contains(count) else {
                throw Self.outside(
                    path, "\(count) characters", "\(range.lowerBound)", "\(range.upperBound)")
            }
            return
        case (.enumeration(let names), .string(let text)) where names.contains(text): return
        case (.array(let element, let range), .array(let values)):
            guard range.contains(values.count) else {
                throw Self.outside(
                    path, "\(values.count) elements", "\(range.lowerBound)", "\(range.upperBound)")
            }
            for (index, value) in values.enumerated() {
                try element.check(value, at: "\(path)[\(index)]")
            }
            return
        case (.object(let fields), .object(let members)):
            try Self.refuseOthers(members, fields, at: path)
            return try Self.check(fields, value, at: path)
        case (.open(let fields), .object): return try Self.check(fields, value, at: path)
        case (.tagged(let name, let options, let otherwise), .object):
            if let otherwise, value[name] == nil {
                return try Shape.object(otherwise).check(value, at: path)
            }
            return try Self.check(name, options, value, at: path)
        case (.only(let values, let reason), _):
            guard !values.contains(value) else { return }
            throw .invalid("\(path) is \(value.brief): \(reason)", parameter: path)
        case (.map(let element, let limit, let keyLength), .object(let members)):
            guard members.count <= limit else {
                throw Self.outside(path, "\(members.count) members", "0", "\(limit)")
            }
            return try Self.check(members, element, keyLength: keyLength, at: path)
        case (.either(let shapes), _): return try Self.check(either: shapes, value, at: path)
        default: break
        }
        throw .invalid("\(path) must be \(description), not \(value.brief)", parameter: path)
    }

    private static func check(
        _ members: [(key: String, value: JSONValue)], _ element: Shape, keyLength: Int,
        at path: String
    ) throws(APIError) {
        for member in members {
            let count = member.key.unicodeScalars.count
            guard count <= keyLength else {
                throw .invalid(
                    "a key of \(path) has \(count) characters: the limit is \(keyLength)",
                    parameter: path)
            }
            try element.check(member.value, at: place(String(member.key.prefix(64)), in: path))
        }
    }

    private static func place(_ name: String, in path: String) -> String {
        path.isEmpty ? name : "\(path).\(name)"
    }

    /// Refuses members that nobody would read: their sender expects something of them.
    private static func refuseOthers(
        _ members: [(key: String, value: JSONValue)], _ fields: [Field], at path: String
    ) throws(APIError) {
        let names = Set(fields.map(\.name))
        guard let other = members.first(where: { !names.contains($0.key) }) else { return }
        let place = place(String(other.key.prefix(64)), in: path)
        throw .invalid(
            "\(JSONValue.quoted(place)) is no member that this server knows", parameter: place,
            code: "unknown_parameter")
    }

    private static func check(
        _ name: String, _ options: [(tag: String, fields: [Field])], _ value: JSONValue,
        at path: String
    ) throws(APIError) {
        let tag = Shape.enumeration(options.map(\.tag))
        try check([Field(name, tag, required: true)], value, at: path)
        guard let option = options.first(where: { $0.tag == value[name]?.string }) else { return }
        try Shape.object([Field(name, tag)] + option.fields).check(value, at: path)
    }

    private static func check(
        _ fields: [Field], _ value: JSONValue, at path: String
    ) throws(APIError) {
        for field in fields {
            let place = place(field.name, in: path)
            if let member = value[field.name] {
                try field.shape.check(member, at: place)
            } else if field.isRequired {
                throw .invalid("\(place) is missing", parameter: place)
            }
        }
    }

    /// Tries each shape.
    ///
    /// The complaint is of the only shape that the value means, if there is one: "temperature 9 is
    /// outside 0...2" rather than "must be a number or null".
    private static func check(
        either shapes: [Shape], _ value: JSONValue, at path: String
    ) throws(APIError) {
        var complaints: [APIError] = []
        for shape in shapes {
            do {
                try shape.check(value, at: path)
                return
            } catch { if shape.isMeant(by: value) { complaints.append(error) } }
        }
        // Of lists without elements, all say the same.
        let isEmptyList = value.array?.isEmpty == true
        if let first = complaints.first, complaints.count == 1 || isEmptyList { throw first }
        throw .invalid(
            "\(path) must be \(Shape.either(shapes).description), not \(value.brief)",
            parameter: path)
    }

    /// Whether a value has this shape's kind, and its first element that of the elements.
    private func isMeant(by value: JSONValue) -> Bool {
        guard kind == value.kind else { return false }
        guard case .array(let element, _) = self else { return true }
        return value.array?.first.map { element.isMeant(by: $0) } ?? true
    }

    private static func outside(
        _ path: String, _ value: String, _ low: String, _ high: String
    ) -> APIError {
        .invalid("\(path) is \(value): it must lie in \(low)...\(high)", parameter: path)
    }

    private var kind: String {
        switch self {
        case .any: "anything"
        case .null: "null"
        case .boolean: "a boolean"
        case .integer, .number: "a number"
        case .string, .enumeration: "a string"
        case .array: "an array"
        case .object, .open, .tagged, .map: "an object"
        case .only: "a fixed value"
        case .either: "one of several"
        }
    }

    private var description: String {
        switch self {
        case .integer: "an integer"
        case .only(let values, _): values.map(\.text).joined(separator: " or ")
        case .enumeration(let names): "one of " + names.joined(separator: ", ")
        case .either(let shapes): shapes.map(\.description).joined(separator: " or ")
        case .array(let element, _): "an array of " + element.kind
        default: kind
        }
    }
}

extension JSONValue {
    /// The value as an error quotes it: its kind, and its text when that is short.
    fileprivate var brief: String {
        let text = text
        return text.utf8.count <= 40 ? text : kind
    }
}
