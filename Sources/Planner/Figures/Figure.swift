import Foundation

/// A number that can say how it was computed and where its inputs come from.
package struct Figure: Codable, Hashable, Sendable {
    /// What a figure counts, which decides how people see it.
    package enum Unit: String, Codable, Sendable {
        case seconds, bytes, bytesPerSecond, tokens, tokensPerSecond, operations
        case share, count, dollars, hours
    }

    /// What it is, in words.
    package let name: String
    /// In the unit, without a prefix.
    package let value: Double
    /// What it counts.
    package let unit: Unit
    /// How it was computed, with the values that went in.
    package let formula: String
    /// Where the formula or its inputs come from.
    package let source: String

    package init(
        _ name: String, _ value: Double, _ unit: Unit, _ formula: String, source: String
    ) {
        self.name = name
        self.value = value
        self.unit = unit
        self.formula = formula
        self.source = source
    }

    /// The value as people write it.
    package var text: String { Self.text(value, unit) }

    /// A value as people write it: four digits and the largest prefix that leaves some.
    package static func text(_ value: Double, _ unit: Unit) -> String {
        switch unit {
        case .seconds:
            let size = abs(value)
            if size != 0 && size < 1e-3 { return digits(value * 1e6) + " us" }
            return size < 1 ? digits(value * 1e3) + " ms" : digits(value) + " s"
        case .bytes: return prefixed(value) + "B"
        case .bytesPerSecond: return prefixed(value) + "B/s"
        case .operations: return prefixed(value) + "FLOP"
        case .tokens: return digits(value) + " tokens"
        case .tokensPerSecond: return digits(value) + " tokens/s"
        case .share: return digits(value * 100) + "%"
        case .count: return digits(value)
        case .dollars: return "$" + digits(value)
        case .hours: return digits(value) + " h"
        }
    }

    private static func prefixed(_ value: Double) -> String {
        let prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"]
        var value = value
        var index = 0
        while abs(value) >= 1000, index < prefixes.count - 1 {
            value /= 1000
            index += 1
        }
        return digits(value) + " " + prefixes[index]
    }

    /// Four digits that matter; whole numbers below a million without a fraction.
    static func digits(_ value: Double) -> String {
        if value == value.rounded(), abs(value) < 1e15 { return grouped(Int(value)) }
        let size = abs(value)
        if size >= 1000 { return grouped(Int(value.rounded())) }
        let places = size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4
        return String(format: "%.\(places)f", value)
    }

    private static func grouped(_ value: Int) -> String {
        var text = ""
        for (index, digit) in String(abs(value)).reversed().enumerated() {
            if index > 0 && index.isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return (value < 0 ? "-" : "") + String(text.reversed())
    }
}
