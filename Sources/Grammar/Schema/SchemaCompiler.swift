import Encoding

/// Turns a JSON Schema into a grammar of documents that satisfy it.
///
/// Documents come out with properties in the schema's order and at most one space after a colon or
/// comma. A keyword that would restrict documents in a way the grammar cannot is refused by name:
/// nothing is silently weaker than asked. `oneOf` is read as `anyOf`.
struct SchemaCompiler {
    /// Why a schema cannot be used.
    struct Fault: Error, CustomStringConvertible {
        let path: String
        let reason: String
        var description: String { "schema at \(path): \(reason)" }
    }

    /// Bytes of schema text; a page of JSON is a tenth of it.
    static let byteLimit = 64 << 10
    /// Nesting of a schema.
    static let depthLimit = 32
    /// Alternatives (`enum`, `anyOf`, types) in a whole schema, well under the parse states kept.
    static let alternativeLimit = 512

    private let root: JSONValue
    var builder = GrammarBuilder()
    private var references: [String: Grammar.Rule] = [:]
    private var alternatives = 0

    private init(root: JSONValue) { self.root = root }

    /// Compiles schema text.
    static func compile(_ text: String) throws -> Grammar {
        guard text.utf8.count <= byteLimit else {
            throw Fault(
                path: "#", reason: "\(text.utf8.count) bytes: the limit is \(byteLimit)")
        }
        let root: JSONValue
        do { root = try JSONValue.parse(text) } catch {
            throw Fault(path: "#", reason: "\(error)")
        }
        var compiler = SchemaCompiler(root: root)
        return try compiler.grammar { compiler throws(Fault) in
            try compiler.rule(for: compiler.root, path: "#", depth: 0)
        }
    }

    /// A grammar of any JSON object.
    static func anyObject() throws -> Grammar {
        var compiler = SchemaCompiler(root: .object([]))
        return try compiler.grammar { compiler throws(Fault) in
            try compiler.build("#") { builder throws(Grammar.Fault) in try builder.anyObject() }
        }
    }

    /// A grammar of a few literal texts.
    static func choice(_ texts: [String]) throws -> Grammar {
        var compiler = SchemaCompiler(root: .object([]))
        return try compiler.grammar { compiler throws(Fault) in
            try compiler.count(texts.count, path: "#")
            return try compiler.rule(texts.map { GrammarBuilder.literal($0) }, path: "#")
        }
    }

    private mutating func grammar(
        _ make: (inout SchemaCompiler) throws(Fault) -> Grammar.Rule
    ) throws(Fault) -> Grammar {
        let start = try make(&self)
        do { return try Grammar(start: start, rules: builder.rules) } catch {
            throw Fault(path: "#", reason: Self.explain(error))
        }
    }

    static func explain(_ fault: Grammar.Fault) -> String {
        switch fault {
        case .tooLarge(let limit): "more than \(limit) positions when compiled"
        case .neverEnds: "no finite document satisfies it"
        case .leftRecursive: "a reference leads to itself without anything between"
        }
    }
}

extension SchemaCompiler {
    typealias Symbol = Grammar.Symbol

    private mutating func rule(
        for schema: JSONValue, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        guard depth <= Self.depthLimit else {
            throw Fault(path: path, reason: "nested deeper than \(Self.depthLimit)")
        }
        if schema.bool == true { return try anyValue(path) }
        guard let members = schema.object else {
            throw Fault(path: path, reason: "\(schema.kind) where a schema should be")
        }
        let use = try SchemaKeywords(members.map(\.key), path: path).use
        switch use {
        case .reference:
            return try resolve(schema["$ref"] ?? .null, path: path, depth: depth)
        case .all:
            // Pydantic v1 writes every reference so; merged, one that leads back would not end.
            if let reference = Self.onlyReference(members) {
                return try resolve(reference, path: path, depth: depth)
            }
            let merged = try allOf(schema, path: path)
            return try rule(for: merged, path: path, depth: depth + 1)
        case .combination(let key):
            return try combination(schema[key] ?? .null, path, depth)
        case .constant: return try literals([schema["const"] ?? .null], of: schema, path: path)
        case .enumeration:
            guard let values = schema["enum"]?.array, !values.isEmpty else {
                throw Fault(path: path, reason: "enum must be an array with at least one value")
            }
            return try literals(values, of: schema, path: path)
        case .types: return try typed(schema, path: path, depth: depth)
        case .anything: return try anyValue(path)
        }
    }

    private mutating func combination(
        _ options: JSONValue, _ path: String, _ depth: Int
    ) throws(Fault) -> Grammar.Rule {
        guard let options = options.array, !options.isEmpty else {
            throw Fault(path: path, reason: "anyOf and oneOf need a non-empty array")
        }
        try count(options.count, path: path)
        var choices: [[Symbol]] = []
        for (index, option) in options.enumerated() {
            choices.append([
                .rule(try rule(for: option, path: "\(path)/\(index)", depth: depth + 1))
            ])
        }
        return try rule(choices, path: path)
    }

    private mutating func typed(
        _ schema: JSONValue, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        let types = try types(of: schema, path: path)
        try count(types.count, path: path)
        var choices: [[Symbol]] = []
        for type in types {
            choices.append([.rule(try rule(ofType: type, schema, path: path, depth: depth))])
        }
        return try rule(choices, path: path)
    }

    private mutating func rule(
        ofType type: String, _ schema: JSONValue, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        switch type {
        case "object": return try object(schema, path: path, depth: depth)
        case "array": return try array(schema, path: path, depth: depth)
        case "string": return try string(schema, path: path)
        case "integer", "number": return try numeric(type, schema, path: path)
        case "boolean": return try literals([true, false], path: path)
        case "null": return try literals([.null], path: path)
        default: throw Fault(path: path, reason: "there is no type \(type)")
        }
    }

    /// The names of the types that a schema allows.
    private func types(of schema: JSONValue, path: String) throws(Fault) -> [String] {
        var types: [String] = []
        switch schema["type"] {
        case nil: types = [schema["properties"] != nil ? "object" : "array"]
        case .string(let name): types = [name]
        case .array(let names) where names.allSatisfy({ $0.string != nil }):
            types = names.compactMap(\.string)
        default: throw Fault(path: path, reason: "type must be a string or an array of strings")
        }
        if schema["nullable"]?.bool == true { types.append("null") }
        guard !types.isEmpty else { throw Fault(path: path, reason: "type names no type") }
        return types
    }

    private mutating func array(
        _ schema: JSONValue, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        let (least, most) = try bounds(schema, "minItems", "maxItems", path: path)
        let item = try value(schema["items"], path: path + "/items", depth: depth)
        return try build(path) { builder throws(Grammar.Fault) in
            try builder.rule(try builder.list(of: item, least, most))
        }
    }

    private mutating func object(
        _ schema: JSONValue, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        guard let properties = (schema["properties"] ?? .object([])).object else {
            throw Fault(path: path, reason: "properties must be an object")
        }
        guard let names = (schema["required"] ?? .array([])).array,
            names.allSatisfy({ $0.string != nil })
        else { throw Fault(path: path, reason: "required must be an array of strings") }
        let required = Set(names.compactMap(\.string))
        for name in required.sorted() where !properties.contains(where: { $0.key == name }) {
            throw Fault(path: path, reason: "\(name) is required but not among the properties")
        }
        if properties.isEmpty {
            return try map(schema["additionalProperties"], path: path, depth: depth)
        }
        try count(properties.count, path: path)
        let space = try build(path) { builder throws(Grammar.Fault) in
            try builder.rule([[try builder.space()]])
        }
        // From the last property to the first: what may follow when some property came before,
        // and when none did.
        var later = try rule([[]], path: path)
        var first = later
        for property in properties.reversed() {
            let value = try rule(
                for: property.value, path: "\(path)/properties/\(property.key)", depth: depth + 1)
            let key = GrammarBuilder.literal(JSONValue.quoted(property.key) + ":")
            let member = key + [.rule(space), .rule(value), .rule(later)]
            let comma = GrammarBuilder.literal(",") + [.rule(space)]
            let optional = !required.contains(property.key)
            let previous = (later, first)
            later = try rule(
                [comma + member] + (optional ? [[.rule(previous.0)]] : []), path: path)
            first = try rule([member] + (optional ? [[.rule(previous.1)]] : []), path: path)
        }
        return try rule(
            [GrammarBuilder.literal("{") + [.rule(first)] + GrammarBuilder.literal("}")], path: path
        )
    }

    /// The rule of a schema that may be left out.
    private mutating func value(
        _ schema: JSONValue?, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        guard let schema else { return try anyValue(path) }
        return try rule(for: schema, path: path, depth: depth + 1)
    }

    private mutating func map(
        _ values: JSONValue?, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        if values?.bool == false { return try rule([GrammarBuilder.literal("{}")], path: path) }
        let value = try value(values, path: path + "/additionalProperties", depth: depth)
        return try build(path) { builder throws(Grammar.Fault) in
            try builder.rule(try builder.map(of: value))
        }
    }
}

extension SchemaCompiler {
    /// What a reference inside the same document leads to.
    func target(
        of reference: JSONValue, path: String
    ) throws(Fault) -> (name: String, schema: JSONValue) {
        guard let name = reference.string, name.hasPrefix("#") else {
            throw Fault(path: path, reason: "only references that begin with # are followed")
        }
        var target = root
        for part in name.dropFirst().split(separator: "/") {
            let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
            let index = Int(key)
            let element = index.flatMap { index in
                target.array.flatMap { $0.indices.contains(index) ? $0[index] : nil }
            }
            guard let next = target[key] ?? element else {
                throw Fault(path: path, reason: "\(name) leads nowhere")
            }
            target = next
        }
        return (name, target)
    }

    /// Follows a reference; each target is compiled once.
    private mutating func resolve(
        _ reference: JSONValue, path: String, depth: Int
    ) throws(Fault) -> Grammar.Rule {
        let (name, target) = try target(of: reference, path: path)
        if let rule = references[name] { return rule }
        let rule = builder.reserve()
        references[name] = rule
        let inner = try self.rule(for: target, path: name, depth: depth + 1)
        try build(path) { builder throws(Grammar.Fault) in
            try builder.define(rule, [[.rule(inner)]])
        }
        return rule
    }

    /// Literals, those of them that are of the types that stand beside them.
    private mutating func literals(
        _ values: [JSONValue], of schema: JSONValue, path: String
    ) throws(Fault) -> Grammar.Rule {
        guard schema["type"] != nil else { return try literals(values, path: path) }
        let types = try types(of: schema, path: path)
        let fitting = values.filter { value in types.contains { value.isOfType($0) } }
        guard !fitting.isEmpty else {
            throw Fault(path: path, reason: "none of its values is of type \(types)")
        }
        return try literals(fitting, path: path)
    }

    private mutating func literals(
        _ values: [JSONValue], path: String
    ) throws(Fault) -> Grammar.Rule {
        try count(values.count, path: path)
        return try rule(values.map { GrammarBuilder.literal($0.text) }, path: path)
    }

    private mutating func anyValue(_ path: String) throws(Fault) -> Grammar.Rule {
        try build(path) { builder throws(Grammar.Fault) in try builder.anyValue() }
    }

    private mutating func rule(
        _ alternatives: [[Symbol]], path: String
    ) throws(Fault) -> Grammar.Rule {
        try build(path) { builder throws(Grammar.Fault) in try builder.rule(alternatives) }
    }

    mutating func build<Value>(
        _ path: String, _ make: (inout GrammarBuilder) throws(Grammar.Fault) -> Value
    ) throws(Fault) -> Value {
        do { return try make(&builder) } catch {
            throw Fault(path: path, reason: Self.explain(error))
        }
    }

    mutating func count(_ count: Int, path: String) throws(Fault) {
        alternatives += count
        guard alternatives <= Self.alternativeLimit else {
            throw Fault(
                path: path, reason: "more than \(Self.alternativeLimit) alternatives in all")
        }
    }

    func bounds(
        _ schema: JSONValue, _ low: String, _ high: String, path: String
    ) throws(Fault) -> (Int, Int?) {
        var limits: [String: Int] = [:]
        for key in [low, high] where schema[key] != nil {
            guard let value = schema[key]?.integer, (0 ... Grammar.sizeLimit).contains(value) else {
                throw Fault(
                    path: path, reason: "\(key) must be an integer from 0 to \(Grammar.sizeLimit)")
            }
            limits[key] = value
        }
        let least = limits[low] ?? 0
        guard limits[high] ?? least >= least else {
            throw Fault(path: path, reason: "\(low) is greater than \(high)")
        }
        return (least, limits[high])
    }
}
