import Encoding

/// Turns a JSON Schema into a grammar of documents that satisfy it.
///
/// Documents come out with properties in the schema's order and at most one space after a colon or
/// comma. A keyword that would restrict documents in a way the grammar cannot is refused by name:
/// nothing is silently weaker than asked.
///
/// 1. Every document of the grammar satisfies the schema; some that satisfy it are not in it.
/// 2. Whatever a schema can multiply is counted in the builder's budget before it is done.
struct SchemaCompiler {
    /// Why a schema cannot be used.
    struct Fault: Error, CustomStringConvertible {
        let path: SchemaPath
        let reason: String
        var description: String { "schema at \(path): \(reason)" }

        init(_ path: SchemaPath, _ reason: String) { (self.path, self.reason) = (path, reason) }
    }

    /// Nesting of a schema; references do not count.
    static let depthLimit = 64
    /// The largest count in a keyword.
    static let countLimit = 1 << 30
    /// Alternatives of one `anyOf`, well under the parse states kept; values of an `enum` are
    /// limited by the budget alone.
    static let alternativeLimit = 512

    typealias Symbol = Grammar.Symbol
    typealias Rule = Grammar.Rule

    let document: SchemaDocument
    var builder: GrammarBuilder
    private var references: [String: Rule] = [:]
    private var conjunctions: [String: Rule] = [:]
    /// Rules of strings and numbers by what they ask for.
    var scalars: [ScalarKey: Rule] = [:]
    /// What stands between quotes, by the patterns and lengths that narrow it.
    var contents: [ScalarKey: Rule] = [:]
    /// References and combinations in each other that are being merged.
    var mergeDepth = 0
    /// Whether options of a `oneOf` are being compared.
    var isComparing = false
    /// What is still to be compiled; so that a chain of references needs no stack.
    private var open: [(rule: Rule, schemas: [JSONValue], path: SchemaPath)] = []

    var budget: CompilationBudget { builder.budget }

    private init(_ document: SchemaDocument, _ builder: GrammarBuilder) {
        self.document = document
        self.builder = builder
    }

    /// The rule of a schema, which is its own root.
    ///
    /// - Parameter isObject: Whether only objects are wanted; what refers to the root may be more.
    static func rule(
        _ text: String, _ builder: inout GrammarBuilder, isObject: Bool = false
    ) throws -> Rule {
        let path = SchemaPath.root("#")
        let root: JSONValue
        try builder.budget.spend(text.utf8.count, bytes: text.utf8.count * 4)
        do { root = try JSONValue.parse(text) } catch { throw Fault(path, "\(error)") }
        var compiler = SchemaCompiler(SchemaDocument(root), builder)
        let start =
            isObject && root["type"] != "object"
            ? try compiler.rule(all: [root, ["type": "object"]], path, 0)
            : try compiler.resolve("#", at: path)
        while let next = compiler.open.popLast() {
            let inner =
                next.schemas.count == 1
                ? try compiler.rule(for: next.schemas[0], next.path, 0)
                : try compiler.compile(next.schemas, next.path, 0)
            try compiler.at(next.path) { try $0.define(next.rule, [[.rule(inner)]]) }
        }
        builder = compiler.builder
        return start
    }

    /// Whether a schema of a tool's parameters names none, and allows none.
    static func declaresNothing(_ text: String) -> Bool {
        guard text.utf8.count < 4096, let members = try? JSONValue.parse(text).object else {
            return false
        }
        return members.allSatisfy { key, value in
            switch key {
            case "type": value == "object" || value.array?.contains("object") == true
            case "properties", "patternProperties": value.object?.isEmpty == true
            case "required": value.array?.isEmpty == true
            case "additionalProperties", "unevaluatedProperties": value.bool == false
            default: SchemaKeywords.annotations.contains(key)
            }
        }
    }
}

extension SchemaCompiler {
    /// The rule of one schema.
    mutating func rule(for schema: JSONValue, _ path: SchemaPath, _ depth: Int) throws -> Rule {
        guard depth <= Self.depthLimit else {
            throw Fault(path, "nested deeper than \(Self.depthLimit)")
        }
        try budget.spend(8)
        if let bool = schema.bool { return try bool ? anyValue(path) : rule([], path) }
        guard let members = schema.object else {
            throw Fault(path, "\(schema.kind) where a schema should be")
        }
        let spoken = try SchemaKeywords.spoken(members, at: path)
        guard let only = spoken.first else { return try anyValue(path) }
        guard spoken.count == 1 else { return try compile([schema], path, depth) }
        switch only.key {
        case "$ref": return try resolve(only.value, at: path)
        case "anyOf", "oneOf":
            let options = try self.options(only.key, of: schema, path)
            return try combination(only.key, options, path / only.key, depth)
        // Pydantic v1 writes every reference so.
        case "allOf":
            return try rule(all: parts(only.value, "allOf", path), path / "allOf", depth + 1)
        default: return try compile([schema], path, depth)
        }
    }

    /// The rule of what satisfies all of some schemas.
    ///
    /// That of several is kept by their text, so that schemas that lead to each other end.
    mutating func rule(
        all schemas: [JSONValue], _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        var keys: [String] = []
        var parts: [JSONValue] = []
        var seen: Set<String> = []
        if schemas.count == 1 { return try rule(for: schemas[0], path, depth) }
        for schema in schemas where schema.bool != true && schema.object?.isEmpty != true {
            let key = try schema.canonical(budget)
            guard seen.insert(key).inserted else { continue }
            keys.append(key)
            parts.append(schema)
        }
        if parts.isEmpty { return try anyValue(path) }
        if parts.count == 1 { return try rule(for: parts[0], path, depth) }
        let key = keys.joined(separator: ",")
        try budget.spend(key.utf8.count / 4, bytes: key.utf8.count)
        if let known = conjunctions[key] { return known }
        let reserved = builder.reserve()
        conjunctions[key] = reserved
        open.append((reserved, parts, path))
        return reserved
    }

    private mutating func compile(
        _ schemas: [JSONValue], _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        guard depth <= Self.depthLimit else {
            throw Fault(path, "nested deeper than \(Self.depthLimit)")
        }
        var found = [PlainSchema()]
        for schema in schemas {
            found = try product(found, plains(schema, path), path)
        }
        var choices: [[Symbol]] = []
        for plain in found {
            // Of several alternatives, one whose values all fall away is none.
            if found.count > 1, plain.literals != nil, try fitting(plain, path).isEmpty { continue }
            choices.append([.rule(try rule(of: plain, path, depth))])
        }
        return try rule(choices, path)
    }

    /// The rule of a plain schema: that of its values, or one for each of its types.
    mutating func rule(
        of plain: PlainSchema, _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        if plain.isNever { return try rule([], path) }
        if plain.literals != nil { return try literals(plain, path) }
        guard let types = plain.documentTypes else { return try anyValue(path) }
        var choices: [[Symbol]] = []
        for type in types {
            let rule: Rule
            switch type {
            case .null: rule = try literals(["null"], path)
            case .boolean: rule = try literals(["true", "false"], path)
            case .string: rule = try string(plain, path)
            case .integer, .number: rule = try numeric(type, plain, path)
            case .array: rule = try array(plain, path, depth)
            case .object: rule = try object(plain, path, depth)
            }
            choices.append([.rule(rule)])
        }
        return try rule(choices, path)
    }

    private mutating func combination(
        _ key: String, _ options: [JSONValue], _ path: SchemaPath, _ depth: Int
    ) throws -> Rule {
        if key == "oneOf" { try checkExclusive(options, path) }
        var choices: [[Symbol]] = []
        var values: [PlainSchema] = []
        for (index, option) in options.enumerated() {
            // Values of all options are one tree.
            let place = path / "\(index)"
            if option["const"] != nil || option["enum"] != nil {
                values += try plains(option, place)
            } else {
                choices.append([.rule(try rule(for: option, place, depth + 1))])
            }
        }
        var texts: [String] = []
        for plain in values where !plain.isNever { texts += try fitting(plain, path).map(\.text) }
        if !texts.isEmpty { choices.append([.rule(try literals(texts, path))]) }
        guard choices.count <= Self.alternativeLimit else {
            throw Fault(
                path,
                "\(key) has \(choices.count) alternatives that are no single values: the limit is "
                    + "\(Self.alternativeLimit)")
        }
        return try rule(choices, path)
    }

    /// The options of `anyOf` or `oneOf`.
    ///
    /// A discriminator's property is required by all: OpenAPI says so, and Pydantic relies on it
    /// where the property has a default.
    func options(
        _ key: String, of schema: JSONValue, _ path: SchemaPath
    ) throws -> [JSONValue] {
        let options = try parts(schema[key] ?? .null, key, path)
        guard let name = schema["discriminator"]?["propertyName"]?.string else { return options }
        return options.map { ["allOf": [$0, ["required": [.string(name)]]]] }
    }

    /// The schemas of a keyword that has several.
    func parts(_ value: JSONValue, _ key: String, _ path: SchemaPath) throws -> [JSONValue] {
        guard let parts = value.array, !parts.isEmpty else {
            throw Fault(path, "\(key) needs a non-empty array")
        }
        try budget.spend(parts.count)
        return parts
    }

    /// Follows a reference; each target is compiled once.
    private mutating func resolve(_ reference: JSONValue, at path: SchemaPath) throws -> Rule {
        let (name, target) = try document.target(of: reference, at: path, budget)
        if let rule = references[name] { return rule }
        let rule = builder.reserve()
        references[name] = rule
        open.append((rule, [target], .root(name)))
        return rule
    }
}

extension SchemaCompiler {
    mutating func anyValue(_ path: SchemaPath) throws -> Rule { try at(path) { try $0.anyValue() } }

    mutating func rule(_ alternatives: [[Symbol]], _ path: SchemaPath) throws -> Rule {
        try at(path) { try $0.rule(alternatives) }
    }

    mutating func literals(_ texts: [String], _ path: SchemaPath) throws -> Rule {
        try at(path) { try $0.choice(of: texts.map { Array($0.utf8) }) }
    }

    /// Builds, and says of what fails where it stands.
    mutating func at<Value>(
        _ path: SchemaPath, _ make: (inout GrammarBuilder) throws -> Value
    ) throws -> Value {
        do { return try make(&builder) } catch let fault as PatternParser.Fault {
            throw Fault(path, "pattern: \(fault.reason)")
        } catch let fault as Grammar.Fault {
            throw Fault(path, fault.description)
        }
    }
}

extension Grammar.Fault: CustomStringConvertible {
    var description: String {
        switch self {
        case .tooLarge(let limit):
            "it has more than \(limit) positions when compiled (Grammar.sizeLimit)"
        case .tooExpensive(let limit, let unit):
            "compiling it takes more than \(limit) \(unit), the limit for its length "
                + "(CompilationBudget)"
        case .neverEnds: "no text of finite length satisfies what was asked"
        case .leftRecursive: "a reference leads to itself without anything between"
        }
    }
}
