/// Collects rules, and knows the ones every JSON document is made of.
struct GrammarBuilder {
    typealias Symbol = Grammar.Symbol
    typealias Rule = Grammar.Rule

    private(set) var rules: [[[Symbol]]] = []
    private var named: [String: Rule] = [:]
    private var size = 0

    /// A rule to be defined later, so that rules may refer to each other.
    mutating func reserve() -> Rule {
        rules.append([])
        return Rule(index: rules.count - 1)
    }

    /// Gives a reserved rule its alternatives.
    mutating func define(_ rule: Rule, _ alternatives: [[Symbol]]) throws(Grammar.Fault) {
        rules[rule.index] = alternatives
        size += alternatives.reduce(0) { $0 + $1.count + 1 }
        guard size <= Grammar.sizeLimit else { throw .tooLarge(limit: Grammar.sizeLimit) }
    }

    mutating func rule(_ alternatives: [[Symbol]]) throws(Grammar.Fault) -> Rule {
        let rule = reserve()
        try define(rule, alternatives)
        return rule
    }

    /// The rule of this name, made on first use.
    ///
    /// It may refer to itself.
    mutating func rule(
        named name: String,
        _ make: (inout GrammarBuilder) throws(Grammar.Fault) -> [[Symbol]]
    ) throws(Grammar.Fault) -> Rule {
        if let rule = named[name] { return rule }
        let rule = reserve()
        named[name] = rule
        try define(rule, make(&self))
        return rule
    }

    static func literal(_ text: String) -> [Symbol] { text.utf8.map { .bytes(ByteSet($0 ... $0)) } }

    /// `symbols`, repeated between `least` and `most` times; without `most`, any number of times.
    mutating func repeated(
        _ symbols: [Symbol], _ least: Int, _ most: Int?
    ) throws(Grammar.Fault) -> [Symbol] {
        guard least * symbols.count <= Grammar.sizeLimit,
            ((most ?? 0) - least) <= Grammar.sizeLimit
        else { throw .tooLarge(limit: Grammar.sizeLimit) }
        let required = Array(repeatElement(symbols, count: least).joined())
        guard let most else {
            let rest = reserve()
            try define(rest, [symbols + [.rule(rest)], []])
            return required + [.rule(rest)]
        }
        var tail: [Symbol] = []
        for _ in least ..< max(least, most) { tail = [.rule(try rule([symbols + tail, []]))] }
        return required + tail
    }

    /// At most one space: what models write after a colon or a comma, and never enough to stall.
    mutating func space() throws(Grammar.Fault) -> Symbol {
        .rule(try rule(named: "space") { _ throws(Grammar.Fault) in [[.bytes(ByteSet(" "))], []] })
    }

    /// One character inside a string literal: well-formed UTF-8, or an escape that is a character.
    mutating func character() throws(Grammar.Fault) -> Symbol {
        .rule(
            try rule(named: "character") { _ throws(Grammar.Fault) in
                let more = Symbol.bytes(ByteSet(0x80 ... 0xBF))
                let hex = Symbol.bytes(ByteSet("0123456789abcdefABCDEF"))
                return [
                    [.bytes(ByteSet(0x20 ... 0x21, 0x23 ... 0x5B, 0x5D ... 0x7E))],
                    [.bytes(ByteSet(0xC2 ... 0xDF)), more],
                    [.bytes(ByteSet(0xE0 ... 0xE0)), .bytes(ByteSet(0xA0 ... 0xBF)), more],
                    [.bytes(ByteSet(0xE1 ... 0xEC, 0xEE ... 0xEF)), more, more],
                    [.bytes(ByteSet(0xED ... 0xED)), .bytes(ByteSet(0x80 ... 0x9F)), more],
                    [.bytes(ByteSet(0xF0 ... 0xF0)), .bytes(ByteSet(0x90 ... 0xBF)), more, more],
                    [.bytes(ByteSet(0xF1 ... 0xF3)), more, more, more],
                    [.bytes(ByteSet(0xF4 ... 0xF4)), .bytes(ByteSet(0x80 ... 0x8F)), more, more],
                    Self.literal("\\") + [.bytes(ByteSet("\"\\/bfnrt"))],
                    Self.literal("\\u") + [.bytes(ByteSet("0123456789abcefABCEF")), hex, hex, hex],
                    Self.literal("\\u") + [
                        .bytes(ByteSet("dD")), .bytes(ByteSet("01234567")), hex, hex,
                    ],
                ]
            })
    }

    /// A string literal with a bounded or unbounded number of characters.
    mutating func string(_ least: Int = 0, _ most: Int? = nil) throws(Grammar.Fault) -> Rule {
        let content = try repeated([character()], least, most)
        return try rule([Self.literal("\"") + content + Self.literal("\"")])
    }

    mutating func anyString() throws(Grammar.Fault) -> Rule {
        try rule(named: "string") { builder throws(Grammar.Fault) in
            [[.rule(try builder.string())]]
        }
    }

    /// A whole number of at most 15 digits, which every reader holds exactly.
    mutating func integer() throws(Grammar.Fault) -> Rule {
        try rule(named: "integer") { builder throws(Grammar.Fault) in
            let digit = Symbol.bytes(ByteSet("0123456789"))
            let tail = try builder.repeated([digit], 0, 14)
            let whole = Symbol.rule(
                try builder.rule([
                    Self.literal("0"), [.bytes(ByteSet("123456789"))] + tail,
                ]))
            return [[whole], Self.literal("-") + [whole]]
        }
    }

    /// A number that is finite as a double.
    mutating func number() throws(Grammar.Fault) -> Rule {
        try rule(named: "number") { builder throws(Grammar.Fault) in
            let digit = Symbol.bytes(ByteSet("0123456789"))
            let fraction = try builder.repeated([digit], 1, 15)
            let power = try builder.repeated([digit], 1, 2)
            let sign = Symbol.rule(try builder.rule([[.bytes(ByteSet("+-"))], []]))
            let decimals = Symbol.rule(try builder.rule([Self.literal(".") + fraction, []]))
            let exponent = Symbol.rule(
                try builder.rule([[.bytes(ByteSet("eE")), sign] + power, []]))
            return [[.rule(try builder.integer()), decimals, exponent]]
        }
    }

    /// Any object, of any values.
    mutating func anyObject() throws(Grammar.Fault) -> Rule {
        try rule(named: "object") { builder throws(Grammar.Fault) in
            try builder.map(of: builder.anyValue())
        }
    }

    /// Any value.
    mutating func anyValue() throws(Grammar.Fault) -> Rule {
        try rule(named: "value") { builder throws(Grammar.Fault) in
            [
                [.rule(try builder.anyString())], [.rule(try builder.number())],
                [.rule(try builder.anyObject())],
                [.rule(try builder.rule(try builder.list(of: builder.anyValue(), 0, nil)))],
                Self.literal("true"), Self.literal("false"), Self.literal("null"),
            ]
        }
    }

    /// An object whose keys are free and whose values follow one rule.
    mutating func map(of value: Rule) throws(Grammar.Fault) -> [[Symbol]] {
        let space = try space()
        let member: [Symbol] =
            [.rule(try anyString())] + Self.literal(":") + [space, .rule(value)]
        let rest = try repeated(Self.literal(",") + [space] + member, 0, nil)
        return [Self.literal("{}"), Self.literal("{") + member + rest + Self.literal("}")]
    }

    /// An array of `least ... most` values of one rule.
    mutating func list(
        of value: Rule, _ least: Int, _ most: Int?
    ) throws(Grammar.Fault) -> [[Symbol]] {
        if most == 0 { return [Self.literal("[]")] }
        let rest = try repeated(
            Self.literal(",") + [space(), .rule(value)], max(0, least - 1), most.map { $0 - 1 })
        let filled = Self.literal("[") + [.rule(value)] + rest + Self.literal("]")
        return least == 0 ? [Self.literal("[]"), filled] : [filled]
    }
}
