/// Turns a constraint into one grammar.
struct ConstraintCompiler {
    /// Parts of parts of a constraint.
    private static let depthLimit = 16

    private var builder: GrammarBuilder
    /// The rules of the patterns so far, each of which is compiled once.
    private var patterns: [String: Grammar.Rule] = [:]

    /// The grammar of a constraint.
    ///
    /// - Throws: `GrammarError.invalid` for one that cannot be used.
    static func grammar(of constraint: OutputConstraint) throws(GrammarError) -> Grammar {
        let bytes = constraint.textBytes
        guard bytes <= CompilationBudget.textLimit else {
            throw .invalid(
                "its schemas and texts have \(bytes) bytes: the limit is "
                    + "\(CompilationBudget.textLimit) (CompilationBudget.textLimit)",
                parameter: constraint.parameter)
        }
        var compiler = ConstraintCompiler(
            builder: GrammarBuilder(CompilationBudget(textBytes: bytes)))
        do {
            let start = try compiler.rule(of: constraint, 0)
            return try Grammar(start: start, compiler.builder)
        } catch let error as GrammarError {
            throw error
        } catch {
            throw .invalid(Self.words(error), parameter: constraint.parameter)
        }
    }

    private static func words(_ error: any Error) -> String {
        if let fault = error as? PatternParser.Fault { return fault.reason }
        return "\(error)"
    }

    private mutating func rule(
        of constraint: OutputConstraint, _ depth: Int
    ) throws -> Grammar.Rule {
        try builder.budget.spend(8)
        guard depth <= Self.depthLimit else {
            throw SchemaCompiler.Fault(
                .root("the constraint"), "nested deeper than \(Self.depthLimit)")
        }
        switch constraint {
        case .jsonObject: return try builder.anyObject()
        case .jsonSchema(let text): return try SchemaCompiler.rule(text, &builder)
        case .objectSchema(let text):
            return try SchemaCompiler.rule(text, &builder, isObject: true)
        case .choice(let texts): return try builder.choice(of: texts.map { Array($0.utf8) })
        case .regex(let text): return try regex(text)
        case .text(let text): return try builder.rule([GrammarBuilder.literal(text)])
        case .marker(let place):
            guard ByteSet.markers.indices.contains(place) else {
                throw SchemaCompiler.Fault(
                    .root("the constraint"),
                    "marker \(place) is out of range: there are \(ByteSet.markers.count)")
            }
            return try builder.rule([[.bytes(ByteSet(byte: ByteSet.markers[place]))]])
        case .sequence(let parts):
            return try builder.rule([try parts.map { .rule(try rule(of: $0, depth + 1)) }])
        case .either(let parts):
            return try builder.rule(try parts.map { [.rule(try rule(of: $0, depth + 1))] })
        case .repeated(let part, let most):
            let unit = Grammar.Symbol.rule(try rule(of: part, depth + 1))
            return try builder.rule([try builder.repeated([unit], 1, most)])
        case .named(let name, let parameter, let part):
            do { return try rule(of: part, depth + 1) } catch let error as GrammarError {
                throw error
            } catch {
                throw GrammarError.invalid(
                    "\(name): \(Self.words(error))", parameter: parameter)
            }
        }
    }

    private mutating func regex(_ text: String) throws -> Grammar.Rule {
        if let rule = patterns[text] { return rule }
        let rule = try newRegex(text)
        patterns[text] = rule
        return rule
    }

    private mutating func newRegex(_ text: String) throws -> Grammar.Rule {
        let budget = builder.budget
        let pattern = try PatternParser.parse(text, budget)
        let direct = pattern.anchored?.body
        let automaton = try budget.attempt(steps: direct == nil ? .max : 1 << 18) {
            var pool = try ExpressionPool(budget)
            return try TextAutomaton(pool.texts(pattern, whole: true), &pool)
        }
        if let automaton { return try builder.rule(automaton, quoted: false) }
        guard let direct else {
            throw PatternParser.Fault(
                reason: "it takes too many states (half of CompilationBudget's steps)")
        }
        return try builder.rule([try builder.symbols(direct, quoted: false)])
    }
}

extension OutputConstraint {
    /// Bytes of all texts in it.
    public var textBytes: Int {
        switch self {
        case .jsonObject, .marker: 0
        case .jsonSchema(let text), .objectSchema(let text), .regex(let text), .text(let text):
            text.utf8.count
        case .choice(let texts): texts.reduce(0) { $0 + $1.utf8.count }
        case .sequence(let parts), .either(let parts): parts.reduce(0) { $0 + $1.textBytes }
        case .repeated(let part, _), .named(_, _, let part): part.textBytes
        }
    }
}
