extension Double {
    /// Fixed decimals, as tables want them.
    func formatted(digits: Int) -> String {
        var scale = 1.0
        for _ in 0 ..< digits { scale *= 10 }
        guard isFinite, magnitude * scale < 1e15 else { return "-" }
        let value = Int((magnitude * scale).rounded())
        let sign = self < 0 && value != 0 ? "-" : ""
        if digits == 0 { return "\(sign)\(value)" }
        let fraction = String(value % Int(scale))
        let zeros = String(repeating: "0", count: digits - fraction.count)
        return "\(sign)\(value / Int(scale)).\(zeros)\(fraction)"
    }
}
