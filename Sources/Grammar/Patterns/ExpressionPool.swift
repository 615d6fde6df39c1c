/// Regular expressions with intersection and complement, each kept once.
///
/// Source: Owens, Reppy and Turon, Regular-expression derivatives re-examined, 2009. The sums are
/// kept short as well: those of one head are joined, and of one repetition the counts.
struct ExpressionPool {
    /// Names an expression.
    typealias ID = Int32

    enum Node: Hashable {
        /// No text at all, and the empty text.
        case nothing, empty
        case characters(CharacterClass)
        /// The first is no sequence.
        case sequence(ID, ID)
        /// In ascending order, at least two.
        case either([ID]), both([ID])
        case not(ID)
        /// Without a limit the most is -1.
        case repeated(ID, Int, Int)
        /// Digits, a point among them or not, that make a multiple.
        case multiple(DecimalRemainder)
    }

    let budget: CompilationBudget
    private(set) var nodes: [Node] = []
    private var isNullable: [Bool] = []
    private var ids: [Node: ID] = [:]

    init(_ budget: CompilationBudget) throws {
        self.budget = budget
        for node in [Node.nothing, .empty] { _ = try keep(node, isNullable: node == .empty) }
    }

    static let nothing: ID = 0
    static let empty: ID = 1

    subscript(id: ID) -> Node { nodes[Int(id)] }

    /// Whether the empty text is among its texts.
    func isNullable(_ id: ID) -> Bool { isNullable[Int(id)] }

    private mutating func keep(_ node: Node, isNullable nullable: Bool) throws -> ID {
        if let id = ids[node] { return id }
        var size = 8
        switch node {
        case .either(let parts), .both(let parts): size += parts.count
        case .characters(let set): size += set.ranges.count
        default: break
        }
        try budget.spend(size, bytes: 64 + 8 * size)
        let id = ID(nodes.count)
        nodes.append(node)
        isNullable.append(nullable)
        ids[node] = id
        return id
    }

    mutating func characters(_ set: CharacterClass) throws -> ID {
        set.isEmpty ? Self.nothing : try keep(.characters(set), isNullable: false)
    }

    /// Any text at all.
    mutating func anything() throws -> ID { try repeated(characters(.all), 0, nil) }

    mutating func sequence(_ a: ID, _ b: ID) throws -> ID {
        if a == Self.nothing || b == Self.nothing { return Self.nothing }
        if a == Self.empty { return b }
        if b == Self.empty { return a }
        if case .sequence(let head, let tail) = self[a] {
            return try sequence(head, try sequence(tail, b))
        }
        return try keep(.sequence(a, b), isNullable: isNullable(a) && isNullable(b))
    }

    mutating func repeated(_ part: ID, _ least: Int, _ most: Int?) throws -> ID {
        if part == Self.nothing { return least == 0 ? Self.empty : Self.nothing }
        if part == Self.empty || most == 0 { return Self.empty }
        if least == 1, most == 1 { return part }
        // What may be empty may be left out.
        let least = isNullable(part) ? 0 : least
        if case .repeated(let inner, 0, -1) = self[part], inner != part { return part }
        return try keep(.repeated(part, least, most ?? -1), isNullable: least == 0)
    }

    mutating func multiple(_ remainder: DecimalRemainder) throws -> ID {
        try keep(.multiple(remainder), isNullable: remainder.isMultiple)
    }

    mutating func not(_ part: ID) throws -> ID {
        if case .not(let inner) = self[part] { return inner }
        return try keep(.not(part), isNullable: !isNullable(part))
    }

    mutating func both(_ parts: [ID]) throws -> ID {
        var flat: Set<ID> = []
        let anything = try anything()
        for part in parts {
            try budget.spend(1)
            if part == Self.nothing { return part }
            if case .both(let inner) = self[part] {
                flat.formUnion(inner)
            } else {
                flat.insert(part)
            }
        }
        flat.remove(anything)
        if flat.isEmpty { return anything }
        if flat.count == 1 { return flat.first ?? anything }
        let all = flat.allSatisfy { isNullable($0) }
        if flat.contains(Self.empty) { return all ? Self.empty : Self.nothing }
        try budget.spend(flat.count * 4)
        return try keep(.both(flat.sorted()), isNullable: all)
    }

    mutating func either(_ parts: [ID]) throws -> ID {
        var flat: Set<ID> = []
        for part in parts {
            try budget.spend(1)
            if case .either(let inner) = self[part] {
                flat.formUnion(inner)
            } else if part != Self.nothing {
                flat.insert(part)
            }
        }
        try budget.spend(flat.count * 8)
        flat = try joined(flat)
        if flat.count <= 1 { return flat.first ?? Self.nothing }
        let anything = try anything()
        if flat.contains(anything) { return anything }
        return try keep(.either(flat.sorted()), isNullable: flat.contains { isNullable($0) })
    }

    /// Joins alternatives of one head, and counts of one repetition.
    private mutating func joined(_ parts: Set<ID>) throws -> Set<ID> {
        guard parts.count > 1 else { return parts }
        var sets: [CharacterClass] = []
        var tails: [ID: [ID]] = [:]
        var whole: Set<ID> = []
        for part in parts.sorted() {
            switch self[part] {
            case .characters(let set): sets.append(set)
            case .sequence(let head, let tail): tails[head, default: []].append(tail)
            case .repeated: tails[part, default: []].append(Self.empty)
            default: whole.insert(part)
            }
        }
        if !sets.isEmpty {
            try budget.spend(sets.reduce(0) { $0 + $1.ranges.count } * 4)
            whole.insert(try characters(CharacterClass(sets.flatMap(\.ranges))))
        }
        // Per repeated part and tail: its counts.
        var counts: [[ID]: [(least: Int, most: Int)]] = [:]
        for (head, ends) in tails.sorted(by: { $0.key < $1.key }) {
            let tail = ends.count == 1 ? ends[0] : try either(ends)
            if case .repeated(let part, let least, let most) = self[head] {
                counts[[part, tail], default: []].append((least, most < 0 ? Int.max : most))
            } else {
                whole.insert(try sequence(head, tail))
            }
        }
        for (key, all) in counts.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            var open: (least: Int, most: Int)?
            for count in all.sorted(by: { ($0.least, $0.most) < ($1.least, $1.most) }) + [(-1, -1)]
            {
                if let now = open {
                    if count.least >= 0, now.most == .max || count.least <= now.most + 1 {
                        open = (now.least, max(now.most, count.most))
                        continue
                    }
                    let most = now.most == .max ? nil : now.most
                    let head = try repeated(key[0], now.least, most)
                    whole.insert(try sequence(head, key[1]))
                }
                open = count
            }
        }
        return whole
    }

    /// What may follow a character, so that both together are a text of the expression.
    ///
    /// - Parameter known: What was found for the same character before.
    mutating func derivative(
        _ id: ID, by character: UInt32, _ known: inout [ID: ID]
    ) throws -> ID {
        if let found = known[id] { return found }
        try budget.spend(12)
        let result: ID
        switch self[id] {
        case .nothing, .empty: result = Self.nothing
        case .characters(let set):
            result = set.contains(character) ? Self.empty : Self.nothing
        case .sequence(let head, let tail):
            let first = try sequence(derivative(head, by: character, &known), tail)
            result =
                isNullable(head)
                ? try either([first, derivative(tail, by: character, &known)]) : first
        case .either(let parts):
            var all: [ID] = []
            for part in parts { all.append(try derivative(part, by: character, &known)) }
            result = try either(all)
        case .both(let parts):
            var all: [ID] = []
            for part in parts { all.append(try derivative(part, by: character, &known)) }
            result = try both(all)
        case .not(let part): result = try not(derivative(part, by: character, &known))
        case .repeated(let part, let least, let most):
            let rest = try repeated(part, max(0, least - 1), most < 0 ? nil : most - 1)
            result = try sequence(derivative(part, by: character, &known), rest)
        case .multiple(let remainder):
            result = try remainder.after(character).map { try multiple($0) } ?? Self.nothing
        }
        known[id] = result
        return result
    }
}

/// What is known of a decimal number while its digits are read, as far as a multiple needs it.
struct DecimalRemainder: Hashable, Sendable {
    /// In units of the last decimal.
    let divisor: Int
    var remainder = 0
    /// Decimals that are left, all of them before the point.
    var decimals: Int
    var isAfterPoint = false

    var isMultiple: Bool {
        var value = remainder
        for _ in 0 ..< decimals { value = value * 10 % divisor }
        return value == 0
    }

    func after(_ character: UInt32) -> DecimalRemainder? {
        var next = self
        switch character {
        case 0x2E where !isAfterPoint:
            next.isAfterPoint = true
            return next
        case 0x30 ... 0x39:
            if isAfterPoint {
                guard decimals > 0 else { return nil }
                next.decimals -= 1
            }
            next.remainder = (remainder * 10 + Int(character - 0x30)) % divisor
            return next
        default: return nil
        }
    }
}
