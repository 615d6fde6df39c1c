import Encoding

extension SchemaCompiler {
    mutating func string(
        _ schema: JSONValue, path: String
    ) throws(Fault) -> Grammar.Rule {
        let (least, most) = try bounds(schema, "minLength", "maxLength", path: path)
        if let pattern = schema["pattern"] {
            guard least == 0, most == nil else {
                throw Fault(
                    path: path, reason: "pattern beside minLength or maxLength is not supported")
            }
            return try matching(pattern, path: path)
        }
        return try build(path) { builder throws(Grammar.Fault) in
            try least == 0 && most == nil
                ? builder.anyString() : builder.string(least, most)
        }
    }

    mutating func numeric(
        _ type: String, _ schema: JSONValue, path: String
    ) throws(Fault) -> Grammar.Rule {
        if type == "number" { return try number(schema, path: path) }
        var range = (
            low: try bound("minimum", of: schema, path: path),
            high: try bound("maximum", of: schema, path: path)
        )
        if let low = try bound("exclusiveMinimum", of: schema, path: path) {
            range.low = max(range.low ?? -.infinity, low.rounded(.down) + 1)
        }
        if let high = try bound("exclusiveMaximum", of: schema, path: path) {
            range.high = min(range.high ?? .infinity, high.rounded(.up) - 1)
        }
        guard range.low != nil || range.high != nil else {
            return try build(path) { builder throws(Grammar.Fault) in try builder.integer() }
        }
        let limit = 1e15 - 1
        let low = max(-limit, (range.low ?? -limit).rounded(.up))
        let high = min(limit, (range.high ?? limit).rounded(.down))
        guard low <= high else { throw Fault(path: path, reason: "no integer lies in its bounds") }
        return try build(path) { builder throws(Grammar.Fault) in
            try builder.integer(in: Int(low) ... Int(high))
        }
    }

    private mutating func number(
        _ schema: JSONValue, path: String
    ) throws(Fault) -> Grammar.Rule {
        var range = NumberRange()
        range.low = try bound("minimum", of: schema, path: path)
        range.high = try bound("maximum", of: schema, path: path)
        if let low = try bound("exclusiveMinimum", of: schema, path: path), low >= range.low ?? low
        {
            (range.low, range.excludesLow) = (low, true)
        }
        if let high = try bound("exclusiveMaximum", of: schema, path: path),
            high <= range.high ?? high
        {
            (range.high, range.excludesHigh) = (high, true)
        }
        guard range.low != nil || range.high != nil else {
            return try build(path) { builder throws(Grammar.Fault) in try builder.number() }
        }
        guard let grid = range.grid else {
            throw Fault(
                path: path,
                reason: "bounds of a number with more than \(NumberRange.decimalLimit) decimals, "
                    + "or above 1e15, are not supported")
        }
        let rule: Grammar.Rule? =
            grid.low > grid.high
            ? nil
            : try build(path) { builder throws(Grammar.Fault) in try builder.number(in: grid) }
        guard let rule else { throw Fault(path: path, reason: "no number lies in its bounds") }
        return rule
    }

    private mutating func matching(
        _ pattern: JSONValue, path: String
    ) throws(Fault) -> Grammar.Rule {
        guard let text = pattern.string else {
            throw Fault(path: path, reason: "pattern must be a string")
        }
        do {
            return try PatternCompiler.rule(text, &builder)
        } catch let fault as PatternCompiler.Fault {
            throw Fault(path: path, reason: "pattern: \(fault.reason)")
        } catch let fault as Grammar.Fault {
            throw Fault(path: path, reason: Self.explain(fault))
        } catch {
            throw Fault(path: path, reason: "pattern: \(error)")
        }
    }

    /// A bound of a number, nil if the schema has none.
    private func bound(
        _ key: String, of schema: JSONValue, path: String
    ) throws(Fault) -> Double? {
        guard let value = schema[key] else { return nil }
        guard let number = value.double else {
            throw Fault(path: path, reason: "\(key) must be a number, not \(value.kind)")
        }
        return number
    }
}
