import Encoding

/// What a schema asks without references and alternatives: every keyword merged with its like.
struct PlainSchema {
    /// What one part says of objects.
    struct ObjectPart {
        var properties: [(key: String, value: JSONValue)] = []
        var places: [String: Int] = [:]
        var patterns: [(key: String, value: JSONValue)] = []
        var additional: JSONValue?
    }

    /// What one part says of arrays.
    struct ArrayPart {
        var prefix: [JSONValue] = []
        var rest: JSONValue?
    }

    /// Nil for any; a number is an integer, too.
    var types: Set<SchemaType>?
    /// The types that some keyword speaks of.
    var spokenTypes: Set<SchemaType> = []
    var literals: [(key: String, value: JSONValue)]?
    /// Whether no document satisfies it.
    var isNever = false
    var range = NumberRange()
    var multiples: [SchemaNumber] = []
    var lengths = CountRange()
    var patterns: [String] = []
    var formats: [String] = []
    var objects: [ObjectPart] = []
    var required: [String] = []
    var members = CountRange()
    var names: [JSONValue] = []
    /// Whether no members or items may stand beside those that are named.
    var isClosed = false
    var arrays: [ArrayPart] = []
    var items = CountRange()
    var isUnique = false

    /// How many there may be of something.
    struct CountRange: Hashable {
        var least = 0
        var most: Int?

        mutating func narrow(_ other: CountRange) {
            least = max(least, other.least)
            most = [most, other.most].compactMap { $0 }.min()
        }

        var isEmpty: Bool { most.map { $0 < least } ?? false }
    }

    /// Asks for both.
    mutating func narrow(_ other: PlainSchema, _ budget: CompilationBudget) throws {
        try budget.spend(16 + other.objects.count + other.arrays.count + other.required.count)
        if let theirs = other.types {
            types = types.map { Self.intersection($0, theirs) } ?? theirs
            if types?.isEmpty == true { isNever = true }
        }
        spokenTypes.formUnion(other.spokenTypes)
        if let theirs = other.literals {
            if let ours = literals {
                try budget.spend((ours.count + theirs.count) * 4)
                let keys = Set(theirs.map(\.key))
                literals = ours.filter { keys.contains($0.key) }
            } else {
                literals = theirs
            }
        }
        if literals?.isEmpty == true || other.isNever { isNever = true }
        range.narrow(other.range)
        multiples += other.multiples
        lengths.narrow(other.lengths)
        patterns += other.patterns.filter { !patterns.contains($0) }
        formats += other.formats.filter { !formats.contains($0) }
        objects += other.objects
        if !other.required.isEmpty {
            try budget.spend(required.count)
            let known = Set(required)
            required += other.required.filter { !known.contains($0) }
        }
        members.narrow(other.members)
        names += other.names
        isClosed = isClosed || other.isClosed
        arrays += other.arrays
        items.narrow(other.items)
        isUnique = isUnique || other.isUnique
        if lengths.isEmpty, types == [.string] { isNever = true }
    }

    private static func intersection(
        _ a: Set<SchemaType>, _ b: Set<SchemaType>
    ) -> Set<SchemaType> {
        var both = a.intersection(b)
        if a.contains(.integer) && b.contains(.number)
            || a.contains(.number) && b.contains(.integer)
        {
            both.insert(.integer)
        }
        if both.contains(.number) { both.remove(.integer) }
        return both
    }

    /// The types of its documents; nil for any value at all.
    ///
    /// Without `type`, those that its keywords speak of.
    var documentTypes: [SchemaType]? {
        let wanted = types ?? (spokenTypes.isEmpty ? nil : spokenTypes)
        return wanted.map { wanted in SchemaType.allCases.filter { wanted.contains($0) } }
    }
}
