import Encoding

extension JSONValue {
    /// Text that equal values share, as JSON Schema counts equality: members of objects in any
    /// order, numbers by their value.
    func canonical(_ budget: CompilationBudget) throws -> String {
        var output: [UInt8] = []
        try write(into: &output, budget)
        return String(decoding: output, as: UTF8.self)
    }

    private func write(into output: inout [UInt8], _ budget: CompilationBudget) throws {
        let start = output.count
        switch self {
        case .number(let text):
            output += (SchemaNumber(text)?.text ?? text).utf8
        case .array(let values):
            output.append(UInt8(ascii: "["))
            for value in values {
                try value.write(into: &output, budget)
                output.append(UInt8(ascii: ","))
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for member in members.sorted(by: { $0.key < $1.key }) {
                output += JSONValue.quoted(member.key).utf8
                output.append(UInt8(ascii: ":"))
                try member.value.write(into: &output, budget)
                output.append(UInt8(ascii: ","))
            }
            try budget.spend(members.count * 8)
            output.append(UInt8(ascii: "}"))
        default: output += text.utf8
        }
        try budget.spend(4 + (output.count - start) / 4)
    }

    /// Whether the value is of a type as JSON Schema names it.
    func isOfType(_ type: SchemaType) -> Bool {
        switch (type, self) {
        case (.null, .null), (.boolean, .bool), (.number, .number), (.string, .string),
            (.array, .array), (.object, .object):
            true
        case (.integer, .number(let text)): SchemaNumber(text)?.isInteger ?? false
        default: false
        }
    }
}

/// A number as it was written, exactly: `digits * 10^exponent`.
struct SchemaNumber: Hashable, Sendable {
    let isNegative: Bool
    /// Without zeros at either end; empty for zero.
    let digits: String
    let exponent: Int

    /// - Parameter text: A number of JSON.
    init?(_ text: String) {
        let parts = text.split(whereSeparator: { $0 == "e" || $0 == "E" })
        guard let mantissa = parts.first, parts.count <= 2 else { return nil }
        // An exponent of more digits than an integer has makes no number that a reader holds.
        guard let power = parts.count == 2 ? Int(parts[1]) : 0, abs(power) < 1 << 20 else {
            return nil
        }
        var digits = String(mantissa.filter(\.isNumber))
        let decimals = mantissa.firstIndex(of: ".").map { mantissa[$0...].count - 1 } ?? 0
        var exponent = power - decimals
        while digits.last == "0" {
            digits.removeLast()
            exponent += 1
        }
        digits = String(digits.drop { $0 == "0" })
        isNegative = !digits.isEmpty && mantissa.first == "-"
        self.digits = digits
        self.exponent = digits.isEmpty ? 0 : exponent
    }

    var isInteger: Bool { exponent >= 0 }

    var text: String {
        digits.isEmpty ? "0" : (isNegative ? "-" : "") + digits + "e\(exponent)"
    }

    /// How many units of `10^-decimals` it is, if that is whole and has at most 15 digits.
    func units(decimals: Int) -> Int? {
        guard !digits.isEmpty else { return 0 }
        let zeros = exponent + decimals
        guard zeros >= 0, digits.utf8.count + zeros <= 15,
            let value = Int(digits + String(repeating: "0", count: zeros))
        else { return nil }
        return isNegative ? -value : value
    }
}
