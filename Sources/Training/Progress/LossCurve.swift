import Foundation

/// Training and validation loss over steps, as a picture.
struct LossCurve {
    let training: [(Int, Double)]
    let validation: [(Int, Double)]

    private static let width = 900.0
    private static let height = 420.0
    private static let margin = 60.0

    func svg() -> String {
        let points = (training + validation).filter { $0.1.isFinite }
        let last = Double(max(points.map(\.0).max() ?? 1, 1))
        let low = points.map(\.1).min() ?? 0
        let high = max(points.map(\.1).max() ?? 1, low + 1e-6)
        func place(_ point: (Int, Double)) -> String {
            let x = Self.margin + Double(point.0) / last * (Self.width - 2 * Self.margin)
            let share = (point.1 - low) / (high - low)
            let y = Self.height - Self.margin - share * (Self.height - 2 * Self.margin)
            return String(format: "%.1f,%.1f", x, y)
        }
        func line(_ points: [(Int, Double)], _ colour: String) -> String {
            let path = points.filter { $0.1.isFinite }.map(place).joined(separator: " ")
            return "<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(colour)\"/>"
        }
        let base = Self.height - Self.margin
        let marks = (0 ... 4).map { index -> String in
            let value = low + (high - low) * Double(index) / 4
            let y = base - (base - Self.margin) * Double(index) / 4
            return String(format: "<text x=\"8\" y=\"%.1f\">%.3f</text>", y + 4, value)
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(Int(Self.width))" \
            height="\(Int(Self.height))" font-family="Helvetica, Arial, sans-serif" font-size="12">
            <rect width="100%" height="100%" fill="white"/>
            \(line(training, "#3f8fb5"))
            \(line(validation, "#d7263d"))
            \(marks.joined(separator: "\n"))
            <text x="\(Int(Self.margin))" y="20">loss over \(Int(last)) steps: training blue, \
            validation red</text>
            </svg>

            """
    }
}
