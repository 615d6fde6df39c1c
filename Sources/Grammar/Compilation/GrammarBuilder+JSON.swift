/// The rules that every JSON document is made of.
extension GrammarBuilder {
    /// At most one space: what models write after a colon or a comma, and never enough to stall.
    mutating func space() throws -> Symbol {
        .rule(try rule(named: "space") { _ in [[.bytes(ByteSet(" "))], []] })
    }

    /// One character inside a string literal: well-formed UTF-8, or an escape that is a character.
    mutating func character() throws -> Symbol {
        .rule(
            try rule(named: "character") { _ in
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
    mutating func string(_ least: Int = 0, _ most: Int? = nil) throws -> Rule {
        let content = try repeated([character()], least, most)
        return try rule([Self.literal("\"") + content + Self.literal("\"")])
    }

    mutating func anyString() throws -> Rule {
        try rule(named: "string") { builder in [[.rule(try builder.string())]] }
    }

    /// A whole number of at most 15 digits, which every reader holds exactly.
    mutating func integer() throws -> Rule {
        try rule(named: "integer") { builder in
            let tail = try builder.repeated([.bytes(.digits)], 0, 14)
            let whole = Symbol.rule(
                try builder.rule([
                    Self.literal("0"), [.bytes(ByteSet("123456789"))] + tail,
                ]))
            return [[whole], Self.literal("-") + [whole]]
        }
    }

    /// A number that is finite as a double.
    mutating func number() throws -> Rule {
        try rule(named: "number") { builder in
            let fraction = try builder.repeated([.bytes(.digits)], 1, 15)
            let power = try builder.repeated([.bytes(.digits)], 1, 2)
            let sign = Symbol.rule(try builder.rule([[.bytes(ByteSet("+-"))], []]))
            let decimals = Symbol.rule(try builder.rule([Self.literal(".") + fraction, []]))
            let exponent = Symbol.rule(
                try builder.rule([[.bytes(ByteSet("eE")), sign] + power, []]))
            return [[.rule(try builder.integer()), decimals, exponent]]
        }
    }

    /// Any object, of any values.
    mutating func anyObject() throws -> Rule {
        try rule(named: "object") { builder in
            let member = try builder.member(.rule(try builder.anyString()), builder.anyValue())
            return try builder.list("{", member, "}", 0, nil)
        }
    }

    /// Any value.
    mutating func anyValue() throws -> Rule {
        try rule(named: "value") { builder in
            let value = Symbol.rule(try builder.anyValue())
            return [
                [.rule(try builder.anyString())], [.rule(try builder.number())],
                [.rule(try builder.anyObject())],
                [.rule(try builder.rule(try builder.list("[", [value], "]", 0, nil)))],
                Self.literal("true"), Self.literal("false"), Self.literal("null"),
            ]
        }
    }

    /// A key and its value.
    mutating func member(_ key: Symbol, _ value: Rule) throws -> [Symbol] {
        [key] + Self.literal(":") + [try space(), .rule(value)]
    }

    /// Members or values between brackets, with commas between them.
    mutating func list(
        _ open: String, _ item: [Symbol], _ close: String, _ least: Int, _ most: Int?
    ) throws -> [[Symbol]] {
        let empty = Self.literal(open + close)
        if most == 0 { return [empty] }
        let rest = try repeated(
            Self.literal(",") + [space()] + item, max(0, least - 1), most.map { $0 - 1 })
        let filled = Self.literal(open) + item + rest + Self.literal(close)
        return least == 0 ? [empty, filled] : [filled]
    }
}
