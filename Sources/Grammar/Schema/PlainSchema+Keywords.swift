import Encoding

extension PlainSchema {
    /// Reads the keywords of one schema that say something by themselves.
    init(
        _ spoken: [(key: String, value: JSONValue)], at path: SchemaPath,
        _ budget: CompilationBudget
    ) throws {
        var object: ObjectPart?
        var array: ArrayPart?
        for (key, value) in spoken {
            try budget.spend(8)
            if let type = SchemaKeywords.ofType[key] { spokenTypes.insert(type) }
            let read = Reader(key: key, value: value, path: path, budget: budget)
            try takeScalar(key, value, read, at: path, budget)
            try Self.take(key, value, read, into: &object, budget)
            try Self.take(key, value, read, into: &array)
        }
        if spoken.contains(where: { $0.key == "nullable" && $0.value.bool == true }) {
            types?.insert(.null)
        }
        // `format` beside a number or an integer says how many bits it has.
        if let types, !types.contains(.string) { formats = [] }
        if let object { objects = [object] }
        if let array { arrays = [array] }
    }

    private mutating func takeScalar(
        _ key: String, _ value: JSONValue, _ read: Reader, at path: SchemaPath,
        _ budget: CompilationBudget
    ) throws {
        switch key {
        case "type": types = try read.types()
        case "const": try allow([value], budget)
        case "enum":
            guard let values = value.array, !values.isEmpty else {
                throw SchemaCompiler.Fault(
                    path, "enum must be an array with at least one value")
            }
            try allow(values, budget)
        case "not":
            guard value.bool == true || value.object?.isEmpty == true else {
                throw SchemaCompiler.Fault(path, "the keyword not is not supported")
            }
            isNever = true
        case "minimum": range.narrow(NumberRange(low: try read.number()))
        case "maximum": range.narrow(NumberRange(high: try read.number()))
        case "exclusiveMinimum":
            range.narrow(NumberRange(low: try read.number(), excludesLow: true))
        case "exclusiveMaximum":
            range.narrow(NumberRange(high: try read.number(), excludesHigh: true))
        case "multipleOf": multiples.append(try read.multiple())
        case "minLength": lengths.least = try read.count()
        case "maxLength": lengths.most = try read.count()
        case "pattern": patterns.append(try read.string())
        case "format": formats.append(try read.string())
        case "required": required = try read.names()
        case "minProperties": members.least = try read.count()
        case "maxProperties": members.most = try read.count()
        case "propertyNames": names.append(value)
        case "unevaluatedProperties", "unevaluatedItems": isClosed = value.bool != true
        case "uniqueItems": isUnique = try read.bool()
        case "minItems": items.least = try read.count()
        case "maxItems": items.most = try read.count()
        default: break
        }
    }

    private static func take(
        _ key: String, _ value: JSONValue, _ read: Reader, into object: inout ObjectPart?,
        _ budget: CompilationBudget
    ) throws {
        switch key {
        case "properties":
            object = object ?? ObjectPart()
            object?.properties = try read.members()
            try budget.spend((object?.properties.count ?? 0) * 8)
            for (place, property) in (object?.properties ?? []).enumerated() {
                object?.places[property.key] = place
            }
        case "patternProperties":
            object = object ?? ObjectPart()
            object?.patterns = try read.members()
        case "additionalProperties":
            object = object ?? ObjectPart()
            object?.additional = value
        default: break
        }
    }

    private static func take(
        _ key: String, _ value: JSONValue, _ read: Reader, into array: inout ArrayPart?
    ) throws {
        switch key {
        case "prefixItems":
            array = array ?? ArrayPart()
            array?.prefix = try read.schemas()
        case "items":
            array = array ?? ArrayPart()
            // Drafts before 2020-12 wrote the items of a tuple so.
            if value.array != nil {
                array?.prefix = try read.schemas()
            } else {
                array?.rest = value
            }
        case "additionalItems":
            array = array ?? ArrayPart()
            if array?.rest == nil { array?.rest = value }
        default: break
        }
    }

    private mutating func allow(_ values: [JSONValue], _ budget: CompilationBudget) throws {
        var part = PlainSchema()
        var seen: Set<String> = []
        var allowed: [(key: String, value: JSONValue)] = []
        for value in values {
            let key = try value.canonical(budget)
            try budget.spend(4, bytes: key.utf8.count + 64)
            if seen.insert(key).inserted { allowed.append((key, value)) }
        }
        part.literals = allowed
        try narrow(part, budget)
    }

    /// Reads the value of one keyword.
    private struct Reader {
        let key: String
        let value: JSONValue
        let path: SchemaPath
        let budget: CompilationBudget

        private func fault(_ wanted: String) -> SchemaCompiler.Fault {
            SchemaCompiler.Fault(path, "\(key) must be \(wanted), not \(value.kind)")
        }

        func number() throws -> Double {
            guard let number = value.double else { throw fault("a number") }
            return number
        }

        func count() throws -> Int {
            guard let count = value.integer, (0 ... SchemaCompiler.countLimit).contains(count)
            else {
                throw SchemaCompiler.Fault(
                    path, "\(key) must be an integer from 0 to \(SchemaCompiler.countLimit)")
            }
            return count
        }

        func multiple() throws -> SchemaNumber {
            guard case .number(let text) = value, let number = SchemaNumber(text),
                !number.isNegative, !number.digits.isEmpty
            else { throw SchemaCompiler.Fault(path, "multipleOf must be a number above 0") }
            return number
        }

        func string() throws -> String {
            guard let text = value.string else { throw fault("a string") }
            return text
        }

        func bool() throws -> Bool {
            guard let bool = value.bool else { throw fault("true or false") }
            return bool
        }

        func members() throws -> [(key: String, value: JSONValue)] {
            guard let members = value.object else { throw fault("an object") }
            return members
        }

        func schemas() throws -> [JSONValue] {
            guard let schemas = value.array else { throw fault("an array") }
            try budget.spend(schemas.count)
            return schemas
        }

        func names() throws -> [String] {
            guard let values = value.array, values.allSatisfy({ $0.string != nil }) else {
                throw fault("an array of strings")
            }
            try budget.spend(values.count * 4)
            var seen: Set<String> = []
            return values.compactMap(\.string).filter { seen.insert($0).inserted }
        }

        func types() throws -> Set<SchemaType> {
            let values = value.array ?? [value]
            guard !values.isEmpty, values.allSatisfy({ $0.string != nil }) else {
                throw SchemaCompiler.Fault(path, "type must be a string or an array of strings")
            }
            var types: Set<SchemaType> = []
            for name in values.compactMap(\.string) {
                guard let type = SchemaType(rawValue: name) else {
                    throw SchemaCompiler.Fault(path, "there is no type \(name.printable())")
                }
                types.insert(type)
            }
            if types.contains(.number) { types.remove(.integer) }
            return types
        }
    }
}
