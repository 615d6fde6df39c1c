public import Encoding

/// Makes JSON schemas that try what multiplies: each keyword, in each other, many times.
public struct RandomSchema {
    private var random: SplitMix64
    /// Values that are still to be made: keeps a schema small.
    private var left = 0
    /// How often the value that is being made will stand in the schema: parts in parts that are
    /// repeated multiply, and a text of many megabytes is no request.
    private var copies = 1
    private static let mostCopies = 60

    public init(seed: UInt64) { random = SplitMix64(seed: seed) }

    /// A schema with definitions that lead to each other.
    public mutating func next() -> JSONValue {
        left = pick([4, 6, 6, 8, 8, 12, 12, 20, 30, 80])
        let count = below(5)
        var definitions: [(key: String, value: JSONValue)] = []
        for index in 0 ..< count { definitions.append(("d\(index)", schema(0))) }
        var members = schema(0).object ?? [("type", "string")]
        if !definitions.isEmpty, !members.contains(where: { $0.key == "$defs" }) {
            members.append(("$defs", .object(definitions)))
        }
        return .object(members)
    }

    private mutating func below(_ count: Int) -> Int { Int.random(in: 0 ..< count, using: &random) }

    private mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    private mutating func schema(_ depth: Int) -> JSONValue {
        left -= 1
        guard left > 0, depth < 8 else { return pick([["type": "null"], true, [:], ["const": 1]]) }
        var members: [(key: String, value: JSONValue)] = []
        for _ in 0 ... below(3) {
            let keyword = pick(Self.keywords)
            guard !members.contains(where: { $0.key == keyword }) else { continue }
            members.append((keyword, value(of: keyword, depth)))
        }
        return .object(members)
    }

    private static let keywords = [
        "type", "type", "type", "$ref", "$ref", "allOf", "allOf", "anyOf", "anyOf", "oneOf", "enum",
        "const", "properties", "properties", "required", "additionalProperties", "items",
        "prefixItems", "patternProperties", "propertyNames", "minItems", "maxItems", "uniqueItems",
        "minLength", "maxLength", "pattern", "pattern", "format", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minProperties", "maxProperties",
        "nullable", "title", "unevaluatedProperties",
    ]

    private mutating func value(of keyword: String, _ depth: Int) -> JSONValue {
        switch keyword {
        case "type":
            let types: [JSONValue] = [
                "string", "integer", "number", "object", "array", "boolean", "null",
            ]
            return below(4) == 0 ? .array([pick(types), pick(types)]) : pick(types)
        case "$ref": return pick(["#", "#/$defs/d0", "#/$defs/d1", "#/$defs/d2", "#/properties/a"])
        case "allOf", "anyOf", "oneOf", "prefixItems":
            // One part many times is what merging multiplies.
            let wanted = pick([1, 1, 1, 2, 8, 30])
            let times = copies * wanted <= Self.mostCopies ? wanted : 1
            copies *= times
            defer { copies /= times }
            let parts = (0 ... below(3)).map { _ in schema(depth + 1) }
            return .array(Array(repeatElement(parts, count: times).joined()))
        case "enum":
            let count = pick([1, 2, 5, 40, 400])
            let kind = below(4)
            return .array((0 ..< count).map { scalar($0, kind) })
        case "const": return scalar(below(9), below(4))
        case "properties", "patternProperties":
            let names = (0 ... pick([1, 2, 4, 20])).map { index in
                keyword == "properties" ? pick(["a", "b", "p\(index)"]) : pattern(0)
            }
            var seen: Set<String> = []
            return .object(
                names.filter { seen.insert($0).inserted }.map {
                    (key: $0, value: schema(depth + 1))
                })
        case "required": return .array((0 ... below(3)).map { _ in pick(["a", "b", "p1", "z"]) })
        case "items", "additionalProperties", "propertyNames", "unevaluatedProperties":
            return below(4) == 0 ? .bool(below(2) == 0) : schema(depth + 1)
        case "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties":
            return .number(pick([0, 1, 2, 3, 7, 100, 255, 257, 5000, 1_000_000, 1 << 30]))
        case "pattern": return .string(pattern(0))
        case "format":
            return pick([
                "date", "date-time", "time", "uri", "email", "ipv6", "uuid", "x", "hostname",
            ])
        case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
            return pick([
                0, 1, -7, 1000, .number("0.5"), .number("-12.125"), .number("1e14"), 99999,
            ])
        case "multipleOf": return pick([1, 2, 7, 97, 1000, 4096, .number("0.01"), .number("0.25")])
        case "uniqueItems", "nullable": return .bool(below(4) > 0)
        default: return "text"
        }
    }

    private func scalar(_ index: Int, _ kind: Int) -> JSONValue {
        switch kind {
        case 0: .number(index)
        case 1: .string("value \(index)")
        case 2: index % 3 == 0 ? .null : .bool(index % 2 == 0)
        default: .array([.number(index), .object([("k", .number(index % 7))])])
        }
    }

    private mutating func pattern(_ depth: Int) -> String {
        let atoms = [
            "a", "b", ".", "\\d", "\\w", "[a-f]", "[^x]", "é", "\\s", "[a-z0-9-]", "ab",
            "\\.", "@",
        ]
        var text = depth == 0 && below(2) == 0 ? "^" : ""
        for _ in 0 ... below(4) {
            var atom = pick(atoms)
            if depth < 4, below(3) == 0 {
                atom = "(" + pick(["", "?:", "", "?!", "?="]) + pattern(depth + 1) + ")"
            } else if below(6) == 0 {
                atom = "(" + pattern(4) + "|" + pattern(4) + ")"
            }
            text +=
                atom
                + pick(["", "", "", "?", "*", "+", "{3}", "{0,9}", "{2,}", "{1,300}", "{999}"])
            if below(9) == 0 { text += "|" }
        }
        return text + (depth == 0 && below(2) == 0 ? "$" : "")
    }
}
