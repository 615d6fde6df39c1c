import Foundation

/// Bounds of a number, as a schema states them.
struct NumberRange: Hashable {
    /// The least number; with `excludesLow` numbers above it.
    var low: Double?
    var excludesLow = false
    /// The greatest number; with `excludesHigh` numbers below it.
    var high: Double?
    var excludesHigh = false

    /// Asks for both ranges.
    mutating func narrow(_ other: NumberRange) {
        if let theirs = other.low {
            if theirs == low {
                excludesLow = excludesLow || other.excludesLow
            } else if theirs > low ?? -.infinity {
                (low, excludesLow) = (theirs, other.excludesLow)
            }
        }
        if let theirs = other.high {
            if theirs == high {
                excludesHigh = excludesHigh || other.excludesHigh
            } else if theirs < high ?? .infinity {
                (high, excludesHigh) = (theirs, other.excludesHigh)
            }
        }
    }

    /// Whether a number lies in it.
    func contains(_ value: Double) -> Bool {
        let isAbove = low.map { excludesLow ? value > $0 : value >= $0 } ?? true
        let isBelow = high.map { excludesHigh ? value < $0 : value <= $0 } ?? true
        return isAbove && isBelow
    }

    /// The integers in it, as far as readers hold them exactly; nil if there is none.
    var integers: ClosedRange<Int>? {
        var least = max(-Self.magnitude, (low ?? -Self.magnitude).rounded(.up))
        var most = min(Self.magnitude, (high ?? Self.magnitude).rounded(.down))
        if excludesLow, least == low { least += 1 }
        if excludesHigh, most == high { most -= 1 }
        return least <= most ? Int(least) ... Int(most) : nil
    }

    /// Decimals that a bound may have.
    static let decimalLimit = 6
    /// Bounds that are left out: what an integer of 15 digits reaches.
    static let magnitude = 1e15 - 1

    /// A range whose bounds are whole numbers of `10^-decimals`.
    struct Grid {
        var decimals: Int
        var low: Int
        var high: Int
        var excludesLow: Bool
        var excludesHigh: Bool
    }

    /// The bounds on the coarsest grid that holds both; nil if they have too many digits.
    var grid: Grid? {
        for decimals in 0 ... Self.decimalLimit {
            let scale = pow(10, Double(decimals))
            func onGrid(_ bound: Double?, else rest: Double) -> Int? {
                let scaled = ((bound ?? rest) * scale).rounded()
                guard abs(scaled) <= Self.magnitude else { return nil }
                return scaled / scale == bound ?? rest ? Int(scaled) : nil
            }
            let rest = (Self.magnitude / scale).rounded(.down)
            guard let low = onGrid(low, else: -rest), let high = onGrid(high, else: rest) else {
                continue
            }
            return Grid(
                decimals: decimals, low: low, high: high,
                excludesLow: excludesLow && self.low != nil,
                excludesHigh: excludesHigh && self.high != nil)
        }
        return nil
    }
}

extension GrammarBuilder {
    /// Numbers of a range, without exponents; nil if none lies in it.
    mutating func number(in grid: NumberRange.Grid) throws -> Rule? {
        var alternatives: [[Symbol]] = []
        if grid.high >= 0 {
            let low = max(0, grid.low)
            alternatives += try positive(
                low, grid.high, decimals: grid.decimals,
                excludesLow: grid.excludesLow && grid.low >= 0, excludesHigh: grid.excludesHigh)
        }
        if grid.low < 0 {
            // Mirrored: the lower bound is the larger magnitude.
            let least = max(0, -grid.high)
            let mirrored = try positive(
                least, -grid.low, decimals: grid.decimals,
                excludesLow: grid.high > 0 || grid.excludesHigh && grid.high <= 0,
                excludesHigh: grid.excludesLow)
            alternatives += mirrored.map { Self.literal("-") + $0 }
        }
        return alternatives.isEmpty ? nil : try rule(alternatives)
    }

    /// Numbers from `low` to `high`, both not negative and in units of `10^-decimals`.
    private mutating func positive(
        _ low: Int, _ high: Int, decimals: Int, excludesLow: Bool, excludesHigh: Bool
    ) throws -> [[Symbol]] {
        let unit = Int(pow(10, Double(decimals)))
        let digit = Symbol.bytes(.digits)
        let tail = Symbol.rule(try rule([try repeated([digit], 0, 9)]))
        let fraction = Symbol.rule(
            try rule([Self.literal(".") + (try repeated([digit], 1, 9)), []]))
        var alternatives: [[Symbol]] = []
        func text(_ units: Int) -> [Symbol] {
            let whole = Self.literal(String(units / unit))
            return decimals == 0
                ? whole : whole + Self.literal("." + Self.padded(units % unit, decimals))
        }
        if !excludesHigh, low < high || (low == high && !excludesLow) {
            alternatives.append(text(high))
        }
        guard low < high else { return alternatives }
        // What lies in [low, low + 1 unit) apart from `low` itself ends in a digit that is not 0.
        var first = low
        if excludesLow {
            let nonzero = Symbol.bytes(ByteSet("123456789"))
            let zeros = try repeated(Self.literal("0"), 0, 6)
            let point = decimals == 0 ? Self.literal(".") : []
            alternatives.append(text(low) + point + zeros + [nonzero, tail])
            first += 1
        }
        guard first < high else { return alternatives }
        if decimals == 0 {
            alternatives.append([.rule(try integer(in: first ... high - 1)), fraction])
            return alternatives
        }
        let (from, to) = (first / unit, (high - 1) / unit)
        func part(_ whole: Int, _ a: Int, _ b: Int) -> [[Symbol]] {
            Self.fixed(Self.padded(a, decimals), Self.padded(b, decimals)).map {
                Self.literal("\(whole).") + $0 + [tail]
            }
        }
        if from == to { return alternatives + part(from, first % unit, (high - 1) % unit) }
        alternatives += part(from, first % unit, unit - 1)
        if from + 1 < to {
            alternatives.append([.rule(try integer(in: from + 1 ... to - 1)), fraction])
        }
        return alternatives + part(to, 0, (high - 1) % unit)
    }

    private static func padded(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    /// Digit strings of one length between two of them.
    private static func fixed(_ low: String, _ high: String) -> [[Symbol]] {
        guard let a = low.utf8.first, let b = high.utf8.first else { return [[]] }
        let (lowRest, highRest) = (String(low.dropFirst()), String(high.dropFirst()))
        func headed(_ digit: UInt8, _ rests: [[Symbol]]) -> [[Symbol]] {
            rests.map { [.bytes(ByteSet(digit ... digit))] + $0 }
        }
        if a == b { return headed(a, fixed(lowRest, highRest)) }
        let count = lowRest.utf8.count
        var patterns = headed(a, fixed(lowRest, String(repeating: "9", count: count)))
        if a + 1 < b {
            let any = Symbol.bytes(.digits)
            patterns.append(
                [.bytes(ByteSet(a + 1 ... b - 1))] + Array(repeating: any, count: count))
        }
        return patterns + headed(b, fixed(String(repeating: "0", count: count), highRest))
    }
}
