import Encoding

/// `multipleOf`: exactly, for numbers as they are written.
extension SchemaCompiler {
    /// The largest step in units of its last decimal: an automaton has a state per remainder.
    private static let divisorLimit = 4096
    private static let decimalLimit = 9
    /// Numbers up to which those of a range are written out.
    static let listedLimit = 256

    /// Whether a number is a whole multiple of another.
    static func isMultiple(_ number: SchemaNumber, of step: SchemaNumber) -> Bool {
        let decimals = max(0, -min(number.exponent, step.exponent))
        guard let value = number.units(decimals: decimals),
            let divisor = step.units(decimals: decimals), divisor != 0
        else { return false }
        return value % divisor == 0
    }

    mutating func multiple(
        _ type: SchemaType, _ plain: PlainSchema, _ path: SchemaPath
    ) throws -> Rule {
        let decimals = plain.multiples.reduce(0) { max($0, -$1.exponent) }
        guard decimals <= Self.decimalLimit else {
            throw Fault(
                path,
                "multipleOf with \(decimals) decimals: the limit is "
                    + "\(Self.decimalLimit)")
        }
        var divisor = 1
        for step in plain.multiples {
            guard let units = step.units(decimals: decimals) else {
                throw Fault(path, "multipleOf above 1e15 is not supported")
            }
            let product = divisor.multipliedReportingOverflow(
                by: units / Self.commonDivisor(divisor, units))
            guard !product.overflow else { throw Fault(path, "multipleOf is too large") }
            divisor = product.partialValue
        }
        let scale = (0 ..< decimals).reduce(1) { product, _ in product * 10 }
        var forms: [(range: ClosedRange<Int>, divisor: Int, decimals: Int)] = []
        let whole = divisor / Self.commonDivisor(divisor, scale)
        if let range = plain.range.integers { forms.append((range, whole, 0)) }
        if type == .number, decimals > 0, let range = try units(plain.range, decimals, path) {
            forms.append((range, divisor, decimals))
        }
        guard !forms.isEmpty else { throw Fault(path, "no number lies in its bounds") }
        var choices: [[Symbol]] = []
        for form in forms {
            choices.append([
                .rule(try multiples(of: form.divisor, form.range, form.decimals, path))
            ])
        }
        return try rule(choices, path)
    }

    /// Bounds in units of a decimal.
    private func units(
        _ range: NumberRange, _ decimals: Int, _ path: SchemaPath
    ) throws -> ClosedRange<Int>? {
        let scale = Double((0 ..< decimals).reduce(1) { product, _ in product * 10 })
        var scaled = NumberRange()
        for (bound, isLow) in [(range.low, true), (range.high, false)] {
            guard let bound else { continue }
            // Exactly: a bound between two units rounds inwards by what it is as it is written.
            guard let exact = SchemaNumber(JSONValue.number(bound).text) else {
                throw Fault(path, "bounds of \(bound) are not supported")
            }
            let value = exact.units(decimals: decimals).map(Double.init) ?? bound * scale
            guard abs(value) < NumberRange.magnitude else { continue }
            if isLow {
                scaled.narrow(NumberRange(low: value, excludesLow: range.excludesLow))
            } else {
                scaled.narrow(NumberRange(high: value, excludesHigh: range.excludesHigh))
            }
        }
        return scaled.integers
    }

    private static func commonDivisor(_ a: Int, _ b: Int) -> Int {
        b == 0 ? a : commonDivisor(b, a % b)
    }

    /// Multiples in a range of units, written with just so many decimals.
    private mutating func multiples(
        of divisor: Int, _ range: ClosedRange<Int>, _ decimals: Int, _ path: SchemaPath
    ) throws -> Rule {
        if divisor == 1, decimals == 0 { return try at(path) { try $0.integer(in: range) } }
        let first = Self.multiple(of: divisor, atLeast: range.lowerBound)
        let last = -Self.multiple(of: divisor, atLeast: -range.upperBound)
        guard first <= last else { return try rule([], path) }
        // Few of them are written out.
        if (last - first) / divisor < Self.listedLimit {
            return try literals(
                stride(from: first, through: last, by: divisor).map {
                    Self.written($0, decimals)
                }, path)
        }
        guard divisor <= Self.divisorLimit else {
            throw Fault(
                path,
                "multipleOf of \(divisor) units of its last decimal: the limit is "
                    + "\(Self.divisorLimit), or \(Self.listedLimit) numbers in its bounds")
        }
        return try at(path) { builder in
            var pool = try ExpressionPool(builder.budget)
            var signs: [ExpressionPool.ID] = []
            let ends = [(max(0, first), last, false), (max(1, -last), -first, true)]
            for (low, high, isNegative) in ends where low <= high {
                let digits = try Self.digits(low ... high, decimals, &pool)
                let remainder = DecimalRemainder(divisor: divisor, decimals: decimals)
                let multiples = try pool.both([digits, pool.multiple(remainder)])
                let minus = try pool.characters(CharacterClass("-"))
                signs.append(isNegative ? try pool.sequence(minus, multiples) : multiples)
            }
            return try builder.rule(TextAutomaton(pool.either(signs), &pool), quoted: false)
        }
    }

    /// The numbers of a range of units, with a point before the last decimals.
    private static func digits(
        _ range: ClosedRange<Int>, _ decimals: Int, _ pool: inout ExpressionPool
    ) throws -> ExpressionPool.ID {
        let point = try pool.characters(CharacterClass("."))
        var forms: [ExpressionPool.ID] = []
        for pattern in GrammarBuilder.digitRanges(range) {
            let zero = UInt8(ascii: "0") ... UInt8(ascii: "0")
            let padding = Array(repeating: zero, count: max(0, decimals + 1 - pattern.count))
            let all = padding + pattern
            var text = ExpressionPool.empty
            for (place, digit) in all.enumerated().reversed() {
                let set = CharacterClass([UInt32(digit.lowerBound) ... UInt32(digit.upperBound)])
                text = try pool.sequence(pool.characters(set), text)
                if decimals > 0, place == all.count - decimals {
                    text = try pool.sequence(point, text)
                }
            }
            forms.append(text)
        }
        return try pool.either(forms)
    }

    private static func multiple(of divisor: Int, atLeast value: Int) -> Int {
        let remainder = ((value % divisor) + divisor) % divisor
        return remainder == 0 ? value : value + divisor - remainder
    }

    private static func written(_ units: Int, _ decimals: Int) -> String {
        let digits = String(abs(units))
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        let whole = padded.dropLast(decimals)
        let sign = units < 0 ? "-" : ""
        return decimals == 0 ? sign + whole : "\(sign)\(whole).\(padded.suffix(decimals))"
    }
}
